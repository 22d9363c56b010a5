import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3net.model import rfc3339

FIRST = -62135596800  # 0001-01-01T00:00:00Z
LAST = 253402300799  # 9999-12-31T23:59:59Z


@pytest.mark.parametrize(
    ("text", "wall"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("2026-11-20T18:15:47Z", 1795198547.0),
        ("2026-11-20T18:15:47.25Z", 1795198547.25),
        ("2026-11-20t18:15:47z", 1795198547.0),
        ("2026-11-20 18:15:47Z", 1795198547.0),
        ("2026-11-20T20:15:47+02:00", 1795198547.0),
        ("2026-11-20T12:45:47-05:30", 1795198547.0),
        ("2026-11-20T18:15:47-00:00", 1795198547.0),
        ("2026-11-21T18:14:47+23:59", 1795198547.0),
        ("2000-02-29T00:00:00Z", 951782400.0),
        ("2016-12-31T23:59:60Z", 1483228800.0),
        ("1969-12-31T23:59:59.5Z", -0.5),
        ("0001-01-01T00:00:00Z", float(FIRST)),
        ("9999-12-31T23:59:59Z", float(LAST)),
        ("2026-11-20T18:15:47.000000001Z", 1795198547.0),
    ],
)
def test_a_time_is_read_in_every_form_of_the_rfc(text, wall):
    assert rfc3339.parse(text) == wall


@pytest.mark.parametrize(
    "text",
    [
        None, 5, 1.5, True, [], {}, b"2026-11-20T18:15:47Z", "", "now", "2026-11-20", "2026-11-20T18:15Z",
        "2026-11-20T18:15:47",
        "2026-11-20T18:15:47.Z", "2026-11-20T18:15:47,5Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z", "2026-11-20T24:00:00Z", "2026-11-20T18:60:00Z", "2026-11-20T18:15:61Z",
        "2026-11-20T18:15:99Z",
        "2026-11-20T18:15:47+24:00", "2026-11-20T18:15:47+99:99", "2026-11-20T18:15:47+02:60",
        "2026-11-20T18:15:47+0200",
        "2026-11-20T18:15:47Z\n", " 2026-11-20T18:15:47Z", "0000-01-01T00:00:00Z", "２026-11-20T18:15:47Z",
        "26-11-20T18:15:47Z",
    ],
)  # fmt: skip
def test_what_is_not_a_time_is_none(text):
    assert rfc3339.parse(text) is None


@given(st.text(alphabet="0123456789-:.TZtz+ ", max_size=40) | st.text())
def test_no_text_raises(text):
    found = rfc3339.parse(text)
    assert found is None or FIRST - 86400 <= found <= LAST + 86400


@given(
    st.from_regex(r"\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-6]\d(\.\d{1,18})?(Z|[+-][0-2]\d:[0-5]\d)", fullmatch=True)
)
def test_no_near_miss_raises(text):
    found = rfc3339.parse(text)
    assert found is None or FIRST - 86400 <= found <= LAST + 86400


@given(st.integers(FIRST, LAST))
def test_whole_seconds_come_back_from_either_form(wall):
    assert rfc3339.parse(rfc3339.format_seconds(wall)) == wall
    assert rfc3339.parse(rfc3339.format_nanos(wall)) == wall
    assert rfc3339.format_nanos(wall) == rfc3339.format_seconds(wall)


@given(st.floats(10**9, 10**10))
def test_every_time_of_these_centuries_comes_back_as_the_same_float(wall):
    assert rfc3339.parse(rfc3339.format_nanos(wall)) == wall


@given(st.integers(0, 10**9 - 1))
def test_nanoseconds_come_back_where_a_float_holds_them(nanos):
    assert rfc3339.parse(rfc3339.format_nanos(nanos / 10**9)) == pytest.approx(nanos / 10**9, abs=1e-12)


@pytest.mark.parametrize(
    ("wall", "text"),
    [
        (1795198547.0, "2026-11-20T18:15:47Z"),
        (1795198547.25, "2026-11-20T18:15:47.25Z"),
        (1.000000001, "1970-01-01T00:00:01.000000001Z"),
        (0.9999999999, "1970-01-01T00:00:01Z"),
        (-0.5, "1969-12-31T23:59:59.5Z"),
        (FIRST, "0001-01-01T00:00:00Z"),
    ],
)
def test_nanoseconds_are_written_as_go_does(wall, text):
    assert rfc3339.format_nanos(wall) == text


@given(st.floats(0, 4 * 10**9))
def test_metav1_time_is_the_second_that_has_begun(wall):
    text = rfc3339.format_seconds(wall)
    assert len(text) == len("2026-11-20T18:15:47Z")
    assert 0 <= wall - rfc3339.parse(text) < 1
