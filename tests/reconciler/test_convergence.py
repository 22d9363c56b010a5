"""Whatever happens to daemons, machines, the store and other writers: afterwards all agree, and no record is lost."""

import random

import hypothesis
from contracts import manifest_of
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from reconciler.world import PEER_TTL, REPORT_EVERY, World
from store.controllers import text_of

MACHINES = ("n1", "n2")
DAEMONS = ("d1", "d2", "d3")
THEIRS = [
    manifest_of(name, managed=label, theirs=str(i))
    for i, (name, label) in enumerate([("n1", None), ("n2", "false"), ("n1", "True"), ("d1", None)])
]
BROKEN = (b"", b"no JSON", b'{"metadata":{"name":"other"}}')

machines = st.sampled_from(MACHINES)
daemons = st.sampled_from(DAEMONS)


class Convergence(RuleBasedStateMachine):
    """Random weeks of a small network; `kept` are the texts of records that are not ours, which nobody may change."""

    @initialize(count=st.integers(1, 3), seed=st.integers(0, 99))
    def begin(self, count, seed):
        random.seed(seed)
        self.world = World()
        self.names = DAEMONS[:count]
        self.fleet = {d.name: d for d in self.world.fleet(*self.names, machines=MACHINES[:1], brake=False)}
        for daemon in self.fleet.values():
            daemon.sees = {*DAEMONS, *MACHINES}
        self.kept = {}

    def pick(self, name):
        return self.fleet.get(name) or self.fleet[self.names[0]]

    @rule(seconds=st.sampled_from((0.05, 1.0, 20.0, 100.0, 700.0, 700.0)))
    def time_passes(self, seconds):
        self.world.advance(seconds, by=min(seconds, 1.0))

    @rule(name=machines)
    def a_machine_comes_or_goes(self, name):
        self.world.up ^= {name}

    @rule(daemon=daemons, name=machines)
    def a_goodbye_is_heard_by_one(self, daemon, name):
        self.pick(daemon).hears_goodbye(name)

    @rule(daemon=daemons, name=machines, last=st.integers(1, 3))
    def an_address_changes_for_one(self, daemon, name, last):
        self.pick(daemon).hears(name, addresses=(f"198.18.200.{last}",))

    @rule(daemon=daemons, name=machines)
    def one_loses_sight_of_a_machine(self, daemon, name):
        self.pick(daemon).sees ^= {name}

    @rule(daemon=daemons, fault=st.sampled_from(("down", "loses_answers")))
    def the_store_fails_for_one(self, daemon, fault):
        wire = self.pick(daemon).wire
        setattr(wire, fault, not getattr(wire, fault))

    @rule(theirs=st.sampled_from(THEIRS))
    def a_controller_takes_a_record(self, theirs):
        name = theirs["metadata"]["name"]
        self.world.foreign.put(theirs)
        self.kept[name] = text_of(theirs)

    @rule(name=machines, text=st.sampled_from(BROKEN), until_seen=st.booleans(), mended=st.booleans())
    def a_record_breaks(self, name, text, until_seen, mended):
        self.world.foreign.put_raw(name, text)
        self.kept[name] = text
        if until_seen:
            self.time_passes(700.0)
        if mended:
            self.a_record_is_deleted(name)

    @rule(name=machines)
    def a_record_is_deleted(self, name):
        self.world.foreign.delete(name)
        self.kept.pop(name, None)

    @rule(name=machines)
    def a_record_is_given_to_k3net(self, name):
        self.world.foreign.put(manifest_of(name, given="yes"))
        self.kept.pop(name, None)

    @rule(daemon=daemons, name=machines)
    def somebody_writes_in_between(self, daemon, name):
        if name in self.kept or self.world.foreign.raw(name) is None:
            return
        manifest = {**self.world.node(name).manifest, "between": True}
        self.pick(daemon).wire.meanwhile = lambda: name in self.kept or self.world.foreign.put(manifest)

    @rule(seconds=st.sampled_from((-3600.0, -30.0, 30.0, 3600.0)))
    def the_clock_on_the_wall_is_set(self, seconds):
        self.world.ahead += seconds

    @invariant()
    def what_is_not_ours_is_as_it_was(self):
        for name, text in getattr(self, "kept", {}).items():
            assert self.world.foreign.raw(name) == text, name

    def teardown(self):
        if not hasattr(self, "fleet"):
            return
        for daemon in self.fleet.values():
            daemon.sees = {*DAEMONS, *MACHINES}
            daemon.wire.down = daemon.wire.loses_answers = False
            daemon.wire.meanwhile = None
        self.world.advance(25 * REPORT_EVERY + PEER_TTL)
        self.what_is_not_ours_is_as_it_was()
        self.world.written()
        self.world.calls()
        self.world.advance(10 * REPORT_EVERY)
        self.nobody_writes_more_than_reports()
        self.all_say_what_the_store_says()

    def nobody_writes_more_than_reports(self):
        for name, times in self.world.written().items():
            assert times <= 11, f"{name} was written {times} times in ten reports"
        assert self.world.calls()["list"] <= 2 * len(self.fleet)

    def all_say_what_the_store_says(self):
        for name in {*MACHINES, *self.names} - self.kept.keys():
            if name in self.world.up:
                ready = self.world.ready(name)
                assert ready is not None, f"{name} lives, and has no record"
                assert ready[0] == "True", f"{name} lives, and is {ready}"
            elif (node := self.world.node(name)) is not None:
                assert node.ready.status != "True", f"{name} is gone, and Ready"
        for daemon in self.fleet.values():
            assert daemon.reconciler.last_error == ""
            for name, node in daemon.stored.items():
                ready = self.world.ready(name)
                assert ready is not None
                assert ready[0] == node.ready.status, f"{daemon.name} thinks that {name} is stored otherwise"


Convergence.TestCase.settings = hypothesis.settings(max_examples=40, stateful_step_count=30, deadline=None)
ConvergenceTests = Convergence.TestCase
