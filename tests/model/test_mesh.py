from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k3net.model.mesh import Coverage, Mesh, targets

NODES = [f"node-{number}" for number in range(300)]
FLEETS = st.integers(2, 120).map(lambda count: NODES[:count])
MESHES = st.builds(Mesh, full_mesh_limit=st.integers(0, 40), neighbours=st.integers(0, 15), rotating=st.integers(1, 15))
ROUNDS = st.integers(0, 2**40)


@given(MESHES, FLEETS, ROUNDS)
def test_every_ordered_pair_meets_within_the_stated_rounds(mesh, nodes, begin):
    rounds = range(begin, begin + mesh.rounds_to_meet(len(nodes)))
    for own in nodes[:: max(1, len(nodes) // 5)]:
        met = {target for each in rounds for target in mesh.targets(own, nodes, each)}
        assert met == {*nodes} - {own}


@given(MESHES, FLEETS, ROUNDS)
def test_in_each_round_every_node_tests_and_is_tested_by_as_many(mesh, nodes, round_number):
    chosen = [mesh.targets(own, nodes, round_number) for own in nodes]
    load = Counter(target for one in chosen for target in one)
    assert {len(one) for one in chosen} == {load[node] for node in nodes}
    if not mesh.is_full(len(nodes)):
        assert mesh.neighbours <= load[nodes[0]] <= mesh.neighbours + mesh.rotating


@given(MESHES, FLEETS, ROUNDS)
def test_nobody_tests_itself_or_one_node_twice_whether_it_is_listed_or_not(mesh, nodes, round_number):
    found = mesh.targets(nodes[0], nodes[1:], round_number)
    assert found == sorted({*found} - {nodes[0]})
    assert found == mesh.targets(nodes[0], [*reversed(nodes), nodes[-1]], round_number)


@settings(max_examples=30)
@given(st.integers(30, 90), st.integers(0, 10**6))
def test_one_who_joins_changes_few_targets_of_anybody(count, round_number):
    mesh = Mesh(full_mesh_limit=20, neighbours=5, rotating=5)
    before, after = NODES[:count], NODES[: count + 1]
    if mesh.rounds_to_meet(count) != mesh.rounds_to_meet(count + 1):
        return
    changed = [{*mesh.targets(own, after, round_number)} ^ {*mesh.targets(own, before, round_number)} for own in before]
    assert max(map(len, changed)) <= 2 * 3


@settings(max_examples=20)
@given(st.integers(30, 90))
def test_one_who_joins_becomes_a_neighbour_of_as_many_as_there_are_neighbours(count):
    mesh = Mesh(full_mesh_limit=20, neighbours=5, rotating=1)

    def ring(own, nodes):
        first, second = (mesh.targets(own, nodes, each) for each in (0, mesh.rounds_to_meet(len(nodes)) // 2))
        return {*first} & {*second}

    before, after = NODES[:count], NODES[: count + 1]
    assert sum(ring(own, before) != ring(own, after) for own in before) == mesh.neighbours


def test_the_length_of_a_cycle_seldom_changes_with_the_fleet():
    mesh = Mesh()
    lengths = [mesh.rounds_to_meet(count) for count in range(201, 1001)]
    assert lengths == sorted(lengths)
    assert len(set(lengths)) <= 20
    assert (mesh.rounds_to_meet(200), mesh.rounds_to_meet(1000), mesh.rounds_to_meet(5000)) == (1, 102, 511)


def test_up_to_the_limit_the_mesh_is_full():
    mesh = Mesh()
    assert mesh.targets("node-0", NODES[:200], 7) == sorted(NODES[1:200])
    assert len(mesh.targets("node-0", NODES[:201], 7)) <= 20
    assert targets("node-0", NODES, 7) == mesh.targets("node-0", NODES, 7)
    assert mesh.targets("node-0", ["node-0"], 7) == mesh.targets("node-0", [], 7) == []


@pytest.mark.parametrize(("neighbours", "rotating"), [(-1, 1), (1, 0)])
def test_a_mesh_that_would_never_meet_everybody_is_refused(neighbours, rotating):
    with pytest.raises(ValueError, match=f"{neighbours} neighbours and {rotating}"):
        Mesh(neighbours=neighbours, rotating=rotating)


@given(
    st.lists(st.tuples(st.sampled_from(("expect", "tested")), st.frozensets(st.sampled_from(NODES[:6]))), max_size=12)
)
def test_coverage_says_what_a_list_of_all_tests_says(steps):
    coverage, known, last = Coverage(), dict[str, int](), dict[str, int]()
    for now, (step, names) in enumerate(steps):
        if step == "expect":
            coverage.expect(names, now)
            known = {name: known.get(name, now) for name in names}
            last = {name: at for name, at in last.items() if name in names}
        else:
            coverage.tested(sorted(names), now)
            last.update(dict.fromkeys(names & known.keys(), now))
    now = len(steps)
    waits = [now - last.get(name, at) for name, at in known.items()]
    assert coverage.oldest(now) == max(waits, default=None)
    recent = sum(now - at <= 3 for at in last.values())
    assert coverage.share(now, 3) == (recent / len(known) if known else 0.0)
