import json
import unicodedata

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from k3net.cli.text import escaped, human_duration, json_text, yaml_text

MINUTE, HOUR, DAY = 60, 3600, 86400
YEAR = 365 * DAY

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
kinds = [st.characters(), *(st.characters(categories=(kind,)) for kind in ("Cc", "Cf", "Cs", "Zl", "Zp"))]
hostile = st.lists(st.one_of(kinds)).map("".join)  # st.text() would melt these into one large set


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-2.0, "<invalid>"),
        (-1.9, "0s"),
        (0.0, "0s"),
        (0.999, "0s"),
        (42.0, "42s"),
        (119.9, "119s"),
        (120, "2m"),
        (3 * MINUTE + 10, "3m10s"),
        (10 * MINUTE - 1, "9m59s"),
        (10 * MINUTE, "10m"),
        (10 * MINUTE + 59, "10m"),
        (3 * HOUR - 1, "179m"),
        (3 * HOUR, "3h"),
        (5 * HOUR + 2 * MINUTE, "5h2m"),
        (8 * HOUR - 1, "7h59m"),
        (8 * HOUR, "8h"),
        (8 * HOUR + 59 * MINUTE, "8h"),
        (2 * DAY - 1, "47h"),
        (2 * DAY, "2d"),
        (3 * DAY + 4 * HOUR, "3d4h"),
        (8 * DAY - 1, "7d23h"),
        (8 * DAY, "8d"),
        (2 * YEAR - 1, "729d"),
        (2 * YEAR, "2y"),
        (2 * YEAR + 10 * DAY, "2y10d"),
        (8 * YEAR - 1, "7y364d"),
        (8 * YEAR, "8y"),
        (100 * YEAR, "100y"),
        (float("nan"), "<invalid>"),
        (float("inf"), "<invalid>"),
    ],
)
def test_an_age_reads_as_in_kubectl(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


@given(hostile)
def test_escaped_text_is_one_line_that_no_terminal_acts_on(text: str) -> None:
    shown = escaped(text)
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    shown.encode()


def test_escapes_name_the_character_that_they_hide() -> None:
    assert escaped("a\x1b[31m\n\u202eb\x9b\u200b") == r"a\x1b[31m\n\u202eb\x9b\u200b"
    assert escaped("plain text, ümlaut, 中文") == "plain text, ümlaut, 中文"


@given(anything)
def test_json_says_the_same_after_a_round_trip(value: object) -> None:
    assert json.loads(json_text(value)) == value


@given(hostile)
def test_json_holds_nothing_that_a_terminal_acts_on(text: str) -> None:
    shown = json_text({text: text})
    assert all(line.isprintable() for line in shown.split("\n"))
    assert json.loads(shown) == json.loads(json.dumps({text: text}))


@given(anything)
def test_yaml_says_the_same_after_a_round_trip(value: object) -> None:
    assert yaml.safe_load(yaml_text(value)) == value


@given(hostile)
def test_yaml_holds_nothing_that_a_terminal_acts_on(text: str) -> None:
    assert all(line.isprintable() for line in yaml_text({"k": text, text: 1}).split("\n"))


def test_readable_text_of_any_script_stays_readable_in_yaml_and_json() -> None:
    assert yaml_text({"city": "北京"}) == "city: 北京"
    assert '"北京"' in json_text({"city": "北京"})
