"""Rows of marks, against a dictionary of results."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3net.model.matrix import Findings, Row, Summary, Total, mask_of
from k3net.model.rounds import ServiceFinding, rounds
from k3net.model.verdict import ROUNDS

SIZE = 8
RESULTS = st.dictionaries(
    st.integers(0, SIZE - 1),
    st.tuples(st.sampled_from([True, False, None]), st.sampled_from([True, False, None])),
    max_size=SIZE,
)


def findings(results: "dict[int, tuple[bool | None, bool | None]]", seconds: float = 0.0, **more) -> Findings:
    """`results` are (icmp, tcp) by target: ok, failed, or not measured."""

    def masks(at: int) -> tuple[int, int]:
        measured = [bit for bit, words in results.items() if words[at] is not None]
        return mask_of(measured, SIZE), mask_of([bit for bit in measured if not results[bit][at]], SIZE)

    return Findings(mask_of(results, SIZE), masks(0), masks(1), seconds=seconds, **more)


@given(st.lists(st.integers(0, 30)))
def test_a_mask_has_the_bits_it_is_given(bits: list[int]) -> None:
    assert mask_of(bits, 31) == sum(1 << bit for bit in set(bits))
    assert mask_of([], 0) == 0


@given(st.lists(st.one_of(RESULTS, st.sets(st.integers(0, SIZE - 1))), max_size=8))
def test_a_row_remembers_the_last_results_of_each_target(told: list) -> None:
    row = Row()
    model: dict[int, list[tuple[bool | None, bool | None]]] = {}
    for at, news in enumerate(told):
        if isinstance(news, dict):
            row.take(findings(news), float(at))
            for bit, words in news.items():
                model[bit] = [words, *model.get(bit, [])][:ROUNDS]
        else:
            row.forget(mask_of(news, SIZE))
            model = {bit: words for bit, words in model.items() if bit not in news}
    marks = row.marks()
    for protocol in (0, 1):
        for age in range(ROUNDS):
            seen = {bit: words[age][protocol] for bit, words in model.items() if age < len(words)}
            measured = [bit for bit, word in seen.items() if word is not None]
            assert marks.measured[protocol][age] == mask_of(measured, SIZE)
            assert marks.failed[protocol][age] == mask_of([bit for bit in measured if not seen[bit]], SIZE)
    last = [words[0] for words in model.values()]
    tests = [words for words in last if words != (None, None)]
    summary = row.summary()
    assert (summary.tests, summary.failed) == (len(tests), sum(False in words for words in tests))
    assert row.targets == mask_of(model, SIZE)


def test_a_target_that_is_tested_in_turn_stays_until_it_is_too_old() -> None:
    row = Row()
    row.take(findings({0: (True, True), 1: (False, False)}, seconds=2.0), 10.0)
    row.take(findings({2: (True, True)}, seconds=3.0), 70.0)
    assert row.summary() == Summary(tests=3, failed=1, seconds=5.0)
    assert row.oldest == 10.0
    row.take(findings({0: (True, True)}, seconds=1.5), 130.0)
    assert row.summary() == Summary(tests=3, failed=1, seconds=pytest.approx(5.5))
    assert row.lapse(60.0) == 0b10
    assert row.summary() == Summary(tests=2, failed=0, seconds=pytest.approx(4.5))
    assert row.oldest == 70.0


def test_each_target_may_have_a_time_by_which_what_was_found_of_it_is_dropped() -> None:
    row = Row()
    row.take(findings({0: (True, True), 1: (True, True)}), 10.0)
    row.take(findings({2: (True, True)}), 20.0)
    row.lapse_each({0: 9.0, 1: 10.0, 2: 15.0})
    assert row.targets == 0b101
    row.lapse_each({})
    assert row.summary().tests == 2
    assert row.summary(without=0b100).tests == 1


def test_targets_that_nobody_knows_count_until_the_next_report() -> None:
    row = Row()
    row.take(findings({0: (True, True)}, seconds=3.0, strangers=(2, 1)), 1.0)
    assert row.summary() == Summary(tests=3, failed=1, seconds=pytest.approx(3.0))
    row.take(findings({0: (True, True)}, seconds=1.0), 2.0)
    assert row.summary() == Summary(tests=1, failed=0, seconds=1.0)


LOST = {"all": (findings({0: (False, True)}), (3, 3)), "none": (findings({0: (True, True)}), (3, 0))}
LOST |= {word: (findings({0: (True, True)}, loss={0: (3, n)}), (3, n)) for word, n in (("one", 1), ("two", 2))}


@pytest.mark.parametrize(
    ("rounds_of_it", "told"),
    [
        (["one"], None),
        (["one", "none", "none"], None),
        (["one", "none", "one"], (9, 2)),
        (["one", "one", "one", "one"], (12, 4)),
        (["two", "all", "one"], (9, 6)),
        (["one", "all", "all", "two"], None),
        (["one", "one", "all", "all"], None),
        (["all", "all", "two", "none", "none"], None),
        (["one", "one", "none", "none", "none"], None),
    ],
)
def test_loss_is_what_is_lost_again_and_again_and_neither_once_nor_in_an_outage(rounds_of_it, told) -> None:
    row = Row()
    for at, word in enumerate(rounds_of_it):
        row.take(LOST[word][0], float(at))
    assert row.marks().loss == ({} if told is None else {0: told})


def test_loss_is_forgotten_when_there_is_no_more_of_it() -> None:
    row = Row()
    for at, word in enumerate(["one", "one", *["none"] * ROUNDS]):
        row.take(LOST[word][0], float(at))
    assert row.marks().loss == {}


def test_loss_is_forgotten_with_its_target() -> None:
    row = Row()
    for at in range(2):
        row.take(LOST["one"][0], float(at))
    assert row.marks().loss == {0: (6, 2)}
    row.forget(1)
    assert row.marks().loss == {}


SUMMARIES = st.builds(Summary, st.integers(0, 50), st.just(0), st.integers(0, 100).map(float))


@given(st.lists(st.tuples(st.integers(0, 3), st.one_of(st.none(), SUMMARIES)), max_size=20))
def test_a_total_is_the_sum_of_the_last_word_of_each(puts: "list[tuple[int, Summary | None]]") -> None:
    total = Total()
    for key, summary in puts:
        total.put(key, summary)
    left = [summary for summary in dict(puts).values() if summary is not None]
    got = total.summary()
    assert got.tests == sum(summary.tests for summary in left)
    if got.tests:
        assert got.seconds == pytest.approx(sum(summary.seconds for summary in left))


def test_a_summary_of_nothing_has_neither_rate_nor_average() -> None:
    assert (Summary().success_rate, Summary().average) == (0.0, 0.0)
    assert (Summary(4, 1, 2.0).success_rate, Summary(4, 1, 2.0).average) == (75.0, 0.5)


def test_rounds_leave_out_the_bits_that_nobody_has() -> None:
    a, c = Row(), Row()
    for at in (0.0, 1.0):
        a.take(findings({0: (True, True), 2: (True, False)}, loss={2: (3, 1)}), at)
    c.take(findings({0: (None, False), 1: (True, True)}), 0.0)
    last, before = rounds(["a", None, "c"], {"host": [a.marks(), None, c.marks()], "pod": [None] * 3})
    assert set(last.pictures) == {"host/icmp", "host/tcp"}
    icmp, tcp = last.pictures["host/icmp"], last.pictures["host/tcp"]
    assert (icmp.nodes, icmp.measured, icmp.failed) == (("a", "c"), (0b11, 0b00), (0, 0))
    assert (tcp.measured, tcp.failed) == ((0b11, 0b01), (0b10, 0b01))
    assert icmp.loss == {(0, 1): (6, 2)}
    assert before.pictures["host/tcp"].measured == (0b11, 0)


def test_services_are_one_picture_each_and_a_name_that_does_not_resolve_leaves_the_port_unmeasured() -> None:
    told = [
        [ServiceFinding("web", True, False), ServiceFinding("web", True, True)],
        [ServiceFinding("web", False, False)],
        [],
        [ServiceFinding("db", None, True)],
    ]
    last, before = rounds(["a", "b", "c", "d"], {"host": [None] * 4}, told)
    assert (last.services["web"].resolved, last.services["web"].connected) == ((0b11, 0b10), (0b01, 0b01))
    assert (last.services["db"].resolved, last.services["db"].connected) == ((0, 0), (0b1000, 0))
    assert before.services["web"].connected == (1, 0)


def test_without_any_results_there_is_one_empty_round() -> None:
    [only] = rounds([], {"host": [], "pod": []})
    assert (only.pictures, only.services) == ({}, {})


@pytest.mark.parametrize(
    ("resolved", "connected", "ok"),
    [(True, True, True), (True, False, False), (False, None, False), (None, True, True), (True, None, None)],
)
def test_a_service_is_well_when_its_name_resolves_and_its_port_opens(
    resolved: "bool | None", connected: "bool | None", ok: "bool | None"
) -> None:
    assert ServiceFinding("web", resolved, connected).ok is ok
