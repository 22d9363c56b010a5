from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3net.model.duration import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("-0", 0.0),
        ("+0", 0.0),
        ("0s", 0.0),
        ("5s", 5.0),
        ("30s", 30.0),
        ("1478s", 1478.0),
        ("-5s", -5.0),
        ("+5s", 5.0),
        ("5.0s", 5.0),
        ("5.6s", 5.6),
        ("5.s", 5.0),
        (".5s", 0.5),
        ("1.0s", 1.0),
        ("1.004s", 1.004),
        ("100.00100s", 100.001),
        ("10ns", 10e-9),
        ("11us", 11e-6),
        ("12µs", 12e-6),
        ("12μs", 12e-6),
        ("13ms", 0.013),
        ("14s", 14.0),
        ("15m", 900.0),
        ("16h", 57600.0),
        ("3h30m", 12600.0),
        ("10.5s4m", 250.5),
        ("-2m3.4s", -123.4),
        ("1h2m3s4ms5us6ns", 3723.004005006),
        ("39h9m14.425s", 140954.425),
        ("0.3333333333333333333h", 1200.0),
        ("0.100000000000000000000h", 360.0),
        ("0.830103483285477580700h", 2988.372539827),
        ("90s", 90.0),
        ("1m30s", 90.0),
        ("250ms", 0.25),
        ("700ms", 0.7),
    ],
)
def test_what_go_parses_means_the_same_here(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize(
    "text",
    [
        "", "3", "-", "s", ".", "-.", ".s", "+.s", "1d", "1w", "90", "1 h", "1h 30m", "--1s", "1e3s", "1,5s",
        "nan", "inf", "infs",
        "\x85\x85", "hello ￿ world", "９0s", "٣s", "1m\n30s", "9223372036854775810ns", "3000000h", "9" * 400 + "h",
        "9" * 6000 + "s",
    ],
)  # fmt: skip
def test_what_go_refuses_is_an_error_that_shows_the_form(text):
    with pytest.raises(ValueError, match="expected a duration such as 90s") as caught:
        parse_duration(text)
    assert len(str(caught.value)) < 250
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (1e-9, "1ns"),
        (1.1e-6, "1.1µs"),
        (2.2e-3, "2.2ms"),
        (3.3, "3.3s"),
        (245.0, "4m5s"),
        (245.001, "4m5.001s"),
        (18367.001, "5h6m7.001s"),
        (480.000000001, "8m0.000000001s"),
        (-1.1e-6, "-1.1µs"),
        (-245.0, "-4m5s"),
        (60.0, "1m0s"),
        (3600.0, "1h0m0s"),
        (90.0, "1m30s"),
        (0.9999999999, "1s"),
        (1e-12, "0s"),
    ],
)
def test_a_duration_is_written_as_go_writes_it(seconds, text):
    assert format_duration(seconds) == text


@given(st.integers(-(10**15), 10**15))
def test_what_is_written_is_read_back_to_the_nanosecond(nanos):
    seconds = nanos / 10**9
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=1e-9, rel=1e-15)


@given(st.integers(-(10**15), 10**15))
def test_writing_what_was_read_changes_nothing(nanos):
    text = format_duration(nanos / 10**9)
    assert format_duration(parse_duration(text)) == text


@given(st.text())
def test_any_text_is_a_finite_time_or_a_value_error(text):
    with suppress(ValueError):
        assert abs(parse_duration(text)) <= 2**63 / 10**9
