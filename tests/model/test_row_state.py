"""Rows as values, and masks whose bits mean other targets."""

from hypothesis import given
from hypothesis import strategies as st

from k3net.model.matrix import Findings, Row
from k3net.model.row_state import mover

bits = st.integers(0, 70)
masks = st.sets(bits).map(lambda chosen: sum(1 << bit for bit in chosen))


@st.composite
def findings(draw: st.DrawFn) -> Findings:
    reported = draw(masks)
    measured = [draw(masks) & reported for _ in range(2)]
    loss = {bit: (3, 1) for bit in range(71) if measured[0] >> bit & 1 and draw(st.integers(0, 9)) == 0}
    tested = [(mask, mask & draw(masks)) for mask in measured]
    return Findings(reported, tested[0], tested[1], (draw(st.integers(0, 3)), 0), draw(st.floats(0, 100)), loss)


@given(masks, st.dictionaries(bits, st.integers(0, 100), max_size=40))
def test_a_mask_moves_as_each_of_its_bits_does(mask: int, wanted: "dict[int, int]") -> None:
    places = {old: new for new, old in {new: old for old, new in wanted.items()}.items()}
    expected = sum(1 << new for old, new in places.items() if mask >> old & 1)
    move = mover(places)
    assert move(mask) == expected
    assert move(mask) == expected, "also when it is remembered"


@given(st.lists(findings(), max_size=6), findings(), masks)
def test_a_row_goes_on_from_its_state_as_if_nothing_had_been(told: "list[Findings]", more: Findings, gone: int) -> None:
    row = Row()
    for at, found in enumerate(told):
        row.take(found, float(at))
    state = row.state()
    again = Row.of(state.moved(mover({bit: bit for bit in range(71)})))
    for each in (row, again):
        each.take(more, 9.0)
        each.forget(gone)
        each.lapse(2.0)
    assert (row.marks(), row.summary(), row.oldest) == (again.marks(), again.summary(), again.oldest)
    assert Row.of(state).state() == state, "a state does not change with its row"


@given(st.lists(findings(), max_size=5), masks)
def test_a_row_whose_targets_are_gone_is_the_row_that_forgot_them(told: "list[Findings]", gone: int) -> None:
    row = Row()
    for at, found in enumerate(told):
        row.take(found, float(at))
    moved = Row.of(row.state().moved(mover({bit: bit for bit in range(71) if not gone >> bit & 1})))
    row.forget(gone)
    assert moved.marks() == row.marks()
    assert abs(moved.summary().seconds - row.summary().seconds) < 1e-6
    assert (moved.summary().tests, moved.oldest) == (row.summary().tests, row.oldest)
