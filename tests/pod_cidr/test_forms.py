"""The ways in which a file can say a CIDR."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3net.config.strict_yaml import read_documents
from k3net.errors import ConfigError
from k3net.pod_cidr.files import CLUSTER_KEYS, NODE_KEYS, SERVICE_KEYS, read

CIDR = "10.42.0.0/16"


def told(tmp_path, text, keys):
    (tmp_path / "f").write_bytes(text if isinstance(text, bytes) else text.encode())
    found = read(str(tmp_path), "/f", read_documents).told(keys)
    return None if found is None else (",".join(map(str, found.nets)), found.key)


@pytest.mark.parametrize(
    ("text", "keys", "where"),
    [
        (f"podCIDR: {CIDR}", NODE_KEYS, "podCIDR"),
        (f"spec: {{podCIDRs: ['{CIDR}']}}", NODE_KEYS, "spec.podCIDRs"),
        (f"pod-cidr: {CIDR}", NODE_KEYS, "pod-cidr"),
        (f"args: [--pod-cidr, {CIDR}]", NODE_KEYS, "--pod-cidr"),
        (f'KUBELET_ARGS="--v=2 --pod-cidr={CIDR} --x"', NODE_KEYS, "--pod-cidr"),
        (f"a: [{{b: [{{podSubnet: {CIDR}}}]}}]", CLUSTER_KEYS, "a[0].b[0].podSubnet"),
        (f"clusterCIDR: {CIDR}", CLUSTER_KEYS, "clusterCIDR"),
        (f"cluster-cidr: {CIDR}", CLUSTER_KEYS, "cluster-cidr"),
        (f"- --cluster-cidr={CIDR}", CLUSTER_KEYS, "--cluster-cidr"),
        (f"command: x --cluster-cidr '{CIDR}' -v", CLUSTER_KEYS, "--cluster-cidr"),
        (f"args: ['--cluster-cidr', '{CIDR}']", CLUSTER_KEYS, "--cluster-cidr"),
        (f"--cluster-cidr {CIDR}", CLUSTER_KEYS, "--cluster-cidr"),
        (f"serviceSubnet: {CIDR}", SERVICE_KEYS, "serviceSubnet"),
        (f"- --service-cluster-ip-range={CIDR}", SERVICE_KEYS, "--service-cluster-ip-range"),
        (f"a: 1\n---\npodSubnet: {CIDR}", CLUSTER_KEYS, "podSubnet"),
        (f"podSubnet: ''\nx: {{podSubnet: {CIDR}}}", CLUSTER_KEYS, "x.podSubnet"),
    ],
)
def test_every_form_is_read(tmp_path, text, keys, where):
    assert told(tmp_path, text, keys) == (CIDR, where)
    assert [told(tmp_path, text, other) for other in (NODE_KEYS, CLUSTER_KEYS, SERVICE_KEYS) if other != keys] == [
        None,
        None,
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "podCIDR:",
        "podCIDRs: []",
        "- --cluster-cidr=",
        "- --cluster-cidr\n- --pod-cidr",
        "- --no-cluster-cidr=10.0.0.0/8",
        "- --cluster-cidrs=10.0.0.0/8",
        "note: --cluster-cidr=10.0.0.0/8",
        "podcidr: 10.0.0.0/8",
    ],
)
def test_what_says_nothing_is_passed_over(tmp_path, text):
    for keys in (NODE_KEYS, CLUSTER_KEYS, SERVICE_KEYS):
        assert told(tmp_path, text, keys) is None


@pytest.mark.parametrize("value", ["5", "{a: 1}", "[5]", "[[]]", "true", "[10.0.0.0/8, 11.0.0.0/8]", "10.0.0.0", "x/8"])
def test_a_value_that_is_no_network_is_an_error_that_names_the_key(tmp_path, value):
    with pytest.raises(ConfigError) as caught:
        told(tmp_path, f"spec:\n  podCIDR: {value}\n", NODE_KEYS)
    assert str(caught.value).startswith("/f: spec.podCIDR: expected ")


YAML = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["podCIDR", "args", "spec", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(YAML)
def test_no_document_breaks_the_search(document):
    from k3net.pod_cidr.files import File, _search

    file = File("/f", tuple(_search(document, "")))
    for keys in (NODE_KEYS, CLUSTER_KEYS, SERVICE_KEYS):
        try:
            file.told(keys)
        except ConfigError as error:
            assert str(error).startswith("/f: ")  # noqa: PT017 - most documents give none
