import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3net.model.brake import Brake, Reach

TTL = 90.0
NAMES = [f"n{n}" for n in range(200)]
HEARD = Reach(last_answer=0.0)


def some(first, last):
    return frozenset(NAMES[first:last])


def brake(**settings):
    return Brake(peer_ttl=TTL, silence=45.0, **settings)


def held_brake(lapsed=6, of=10, now=0.0):
    made = brake()
    assert made.allow(some(0, lapsed), frozenset(), of - lapsed, now, Reach(last_answer=now)) == frozenset()
    assert made.held_since == now
    return made


@pytest.mark.parametrize(
    ("lapsing", "of", "held"),
    [
        (1, 1, False),
        (1, 2, False),
        (2, 2, False),
        (2, 3, False),
        (3, 3, True),
        (3, 4, True),
        (3, 5, True),
        (3, 6, False),
        (4, 7, True),
        (5, 10, False),
        (6, 10, True),
        (10, 20, False),
        (11, 20, True),
        (21, 40, False),
        (22, 40, True),
        (54, 100, False),
        (55, 100, True),
        (109, 199, False),
        (110, 200, True),
        (200, 200, True),
    ],
)
def test_it_holds_from_55_percent_and_at_least_three(lapsing, of, held):
    made = brake()
    wanting = some(0, lapsing)
    allowed = made.allow(wanting, frozenset(), of - lapsing, 0.0, HEARD)
    assert allowed == (frozenset() if held else wanting)
    assert made.held == (wanting if held else frozenset())
    assert made.held_since == (0.0 if held else None)


def test_nothing_to_demote_holds_nothing():
    made = brake()
    assert made.allow(frozenset(), some(0, 100), 0, 0.0, Reach()) == frozenset()
    assert made.held_since is None


def test_goodbyes_and_earlier_lapses_count_but_are_not_held():
    made = brake()
    assert made.allow(some(0, 1), frozenset(), 9, 0.0, HEARD) == some(0, 1)
    assert made.allow(some(5, 6), some(0, 5), 4, 1.0, HEARD) == frozenset()
    assert made.held == some(5, 6)


def test_one_that_is_both_lapsing_and_falling_counts_once():
    made = brake()
    assert made.allow(some(0, 5), some(0, 5), 5, 0.0, HEARD) == some(0, 5)


@pytest.mark.parametrize(
    ("last_answer", "of", "held"),
    [
        (None, 1, False),
        (None, 2, False),
        (None, 3, True),
        (None, 100, True),
        (55.0, 100, False),
        (54.9, 100, True),
        (54.9, 3, True),
        (54.9, 2, False),
        (200.0, 100, False),
    ],
)
def test_a_daemon_that_nobody_answers_demotes_nobody_in_a_world_of_three_or_more(last_answer, of, held):
    made = brake()
    allowed = made.allow(some(0, 1), frozenset(), of - 1, 100.0, Reach(last_answer))
    assert allowed == (frozenset() if held else some(0, 1))


def test_what_is_held_stays_held_while_nothing_changes():
    made = held_brake()
    for now in range(1, 1000):
        assert made.allow(some(0, 6), frozenset(), 4, float(now), Reach(last_answer=float(now))) == frozenset()
    assert made.held_since == 0.0


def test_those_who_lapse_while_it_holds_are_held_too():
    made = held_brake()
    assert made.allow(some(0, 8), frozenset(), 2, 5.0, Reach(last_answer=5.0)) == frozenset()
    assert made.held == some(0, 8)
    assert made.held_since == 0.0


def test_a_member_that_agrees_lets_them_go():
    made = held_brake()
    assert made.allow(some(0, 6), frozenset(), 4, 1.0, Reach(1.0, member_agrees=True)) == some(0, 6)
    assert made.held_since is None
    assert made.held == frozenset()


def test_a_member_that_agrees_lets_a_deaf_daemon_go_too():
    made = brake()
    assert made.allow(some(0, 6), frozenset(), 0, 0.0, Reach()) == frozenset()
    assert made.allow(some(0, 6), frozenset(), 0, 1.0, Reach(member_agrees=True)) == some(0, 6)


@pytest.mark.parametrize(
    ("now", "works", "allowed"),
    [(179.9, True, False), (180.0, True, True), (180.0, False, False), (9999.0, False, False)],
)
def test_two_ttls_and_a_working_network_let_them_go(now, works, allowed):
    made = held_brake()
    reach = Reach(now, network_works=works)
    assert made.allow(some(0, 6), frozenset(), 4, now, reach) == (some(0, 6) if allowed else frozenset())


def test_once_let_go_the_rest_of_the_outage_follows_however_long_it_takes():
    made = held_brake()
    made.allow(some(0, 6), frozenset(), 4, 1.0, Reach(1.0, member_agrees=True))
    assert made.allow(some(6, 9), some(0, 6), 1, 91.0, Reach(91.0)) == some(6, 9)
    assert made.allow(some(9, 12), some(0, 9), 0, 91.1, Reach(91.1)) == some(9, 12)


def test_an_outage_after_a_quiet_time_is_held_again():
    made = held_brake()
    made.allow(some(0, 6), frozenset(), 4, 1.0, Reach(1.0, member_agrees=True))
    assert made.allow(some(9, 12), some(0, 9), 0, 91.1, Reach(91.1)) == frozenset()


def test_the_operators_word_lets_go_what_is_held_and_no_more():
    made = held_brake()
    assert made.release() == some(0, 6)
    assert made.allow(some(0, 8), frozenset(), 2, 5.0, Reach(5.0)) == some(0, 6)
    assert made.held == some(6, 8)
    assert made.release() == some(6, 8)
    assert made.allow(some(6, 8), some(0, 6), 2, 6.0, Reach(6.0)) == some(6, 8)
    assert made.held_since is None


def test_what_was_released_may_go_again_until_it_was_written():
    made = held_brake()
    made.release()
    assert made.allow(some(0, 6), frozenset(), 4, 5.0, Reach(5.0)) == some(0, 6)
    assert made.allow(some(0, 6), frozenset(), 4, 6.0, Reach(6.0)) == some(0, 6)


def test_a_release_does_not_outlive_the_outage():
    made = held_brake()
    made.release()
    made.allow(some(0, 6), frozenset(), 4, 5.0, Reach(5.0))
    made.allow(frozenset(), frozenset(), 10, 50.0, Reach(50.0))
    assert made.allow(some(0, 6), frozenset(), 4, 100.0, Reach(100.0)) == frozenset()
    assert made.held_since == 100.0


def test_a_release_of_one_that_recovered_does_not_wait_for_its_next_lapse():
    made = held_brake()
    made.release()
    made.allow(some(1, 6), frozenset(), 5, 5.0, Reach(5.0))
    assert made.allow(some(0, 6), some(1, 6), 4, 6.0, Reach(6.0)) == some(1, 6)


def test_a_release_with_nothing_held_is_nothing():
    made = brake()
    assert made.release() == frozenset()
    assert made.allow(some(0, 6), frozenset(), 4, 0.0, HEARD) == frozenset()


def test_when_the_others_come_back_the_few_that_stay_away_go():
    made = held_brake()
    assert made.allow(some(0, 2), frozenset(), 8, 10.0, Reach(10.0)) == some(0, 2)
    assert made.held_since is None


def test_when_all_come_back_it_is_off():
    made = held_brake()
    assert made.allow(frozenset(), frozenset(), 10, 10.0, Reach(10.0)) == frozenset()
    assert (made.held_since, made.held) == (None, frozenset())


def test_an_outage_after_another_waits_its_own_two_ttls():
    made = held_brake()
    made.allow(frozenset(), frozenset(), 10, 10.0, Reach(10.0))
    assert made.allow(some(0, 6), frozenset(), 4, 100.0, Reach(100.0)) == frozenset()
    assert made.allow(some(0, 6), frozenset(), 4, 279.0, Reach(279.0, network_works=True)) == frozenset()
    assert made.allow(some(0, 6), frozenset(), 4, 280.0, Reach(280.0, network_works=True)) == some(0, 6)


def test_a_brake_that_is_off_by_configuration_holds_nothing():
    made = brake(enabled=False)
    assert made.allow(some(0, 100), frozenset(), 0, 0.0, Reach()) == some(0, 100)
    assert made.held_since is None


PASSES = st.lists(
    st.tuples(
        st.frozensets(st.sampled_from(NAMES[:8])),
        st.frozensets(st.sampled_from(NAMES[:8])),
        st.integers(0, 8),
        st.sampled_from((1.0, 45.0, 200.0)),
        st.builds(Reach, st.none() | st.floats(0, 1000), st.booleans(), st.booleans()),
        st.booleans(),
    ),
    max_size=12,
)


@given(PASSES, st.booleans())
def test_it_lets_through_only_what_is_wanted_and_holds_the_rest(passes, enabled):
    made, now = brake(enabled=enabled), 0.0
    for wanting, falling, standing, pause, reach, release in passes:
        now += pause
        allowed = made.allow(wanting, falling, standing, now, reach)
        assert allowed <= wanting
        assert made.held == wanting - allowed
        assert (made.held_since is None) == (not made.held)
        assert made.held_since is None or made.held_since <= now
        if not enabled:
            assert allowed == wanting
        if release:
            assert made.release() == made.held


@given(PASSES)
def test_what_was_released_goes_through_at_the_next_pass(passes):
    made, now = brake(), 0.0
    for wanting, falling, standing, pause, reach, _ in passes:
        now += pause
        released = made.release()
        assert released & wanting <= made.allow(wanting, falling, standing, now, reach)


@given(st.integers(3, 200), st.data())
def test_nobody_of_all_goes_at_once_without_a_word_from_outside(of, data):
    made, now = brake(), 0.0
    for pause in data.draw(st.lists(st.floats(0, 300), max_size=10)):
        now += pause
        assert made.allow(some(0, of), frozenset(), 0, now, Reach()) == frozenset()
