"""What the properties of the core are drawn from: observations close in time, and JSON of any shape."""

from hypothesis import strategies as st

from k3net.model.node import MANAGED
from k3net.model.observation import SOURCES, Observation

NAMES = ("n1", "n2", "n3")
TIMES = st.integers(0, 60).map(lambda tenths: tenths / 10)
TTLS = st.sampled_from((0.0, 0.1, 0.2, 0.7, 3.0, 100.0))
ADDRESSES = ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2")
META = st.dictionaries(st.sampled_from(("hostname", "pid", "node")), st.sampled_from(("n1", "7", "elsewhere")))


def observations(names=NAMES, sources=SOURCES, times=TIMES, ttls=TTLS):
    """Observations that often tie, lapse at the same instant and contradict each other."""
    return st.builds(
        Observation,
        peer=st.sampled_from(names),
        source=st.sampled_from(sources),
        seen_at=times,
        ttl=ttls,
        addresses=st.lists(st.sampled_from(ADDRESSES), max_size=3).map(tuple),
        port=st.sampled_from((0, 22, 7946)),
        ready=st.booleans(),
        reason=st.sampled_from(("", "First", "Second")),
        message=st.sampled_from(("", "as heard")),
        pod_cidrs=st.sampled_from((None, (), ("10.42.0.0/24",))),
        meta=META,
    )


TEXT = st.text(max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXT, JSON, max_size=4)
CLOCK_TEXTS = st.sampled_from((None, "", "yesterday", "2026-11-20T18:00:00Z", "2031-01-01T00:00:00.5+02:00"))


def ready_conditions():
    """Ready conditions as other programs write them: keys that are missing, keys that nobody knows."""
    return st.builds(
        lambda extra, status, times: {**extra, "type": "Ready", **status, **times},
        OBJECTS,
        st.fixed_dictionaries({}, optional={"status": st.sampled_from(("True", "False", "Unknown")), "reason": TEXT}),
        st.fixed_dictionaries({}, optional={"lastTransitionTime": CLOCK_TEXTS, "lastHeartbeatTime": CLOCK_TEXTS}),
    )


@st.composite
def managed_manifests(draw, name="n1"):
    """Manifests that k3net may change, full of what it does not know."""
    texts = st.dictionaries(TEXT, TEXT, max_size=3)
    metadata = {
        **draw(OBJECTS),
        **draw(
            st.fixed_dictionaries(
                {"name": st.just(name), "labels": texts.map(lambda labels: {**labels, MANAGED: "true"})},
                optional={
                    "annotations": st.none() | texts,
                    "uid": TEXT,
                    "creationTimestamp": st.just("2020-01-01T00:00:00Z"),
                },
            )
        ),
    }
    metadata.setdefault("annotations", None)
    others = st.lists(OBJECTS.filter(lambda c: c.get("type") != "Ready"), max_size=2)
    conditions = draw(others) + draw(st.lists(ready_conditions(), max_size=1)) + draw(others)
    status = {**draw(OBJECTS), "conditions": draw(st.sampled_from((conditions, conditions, None)))}
    status["addresses"] = draw(st.none() | st.lists(OBJECTS, max_size=2))
    manifest = {**draw(OBJECTS), "apiVersion": "v1", "kind": "Node", "metadata": metadata}
    manifest["spec"] = draw(st.none() | OBJECTS)
    manifest["status"] = draw(st.sampled_from((status, status, status, None)))
    return manifest
