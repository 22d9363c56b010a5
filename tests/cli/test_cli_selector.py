import pytest

from k3net.cli.selector import parse_selector

LABELS = {"k3.network/managed": "true", "zone": "a", "empty": ""}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("zone=a", True),
        ("zone==a", True),
        ("zone=b", False),
        ("zone!=b", True),
        ("zone!=a", False),
        ("rack!=a", True),
        ("rack=", False),
        ("empty=", True),
        ("zone", True),
        ("rack", False),
        ("!rack", True),
        ("!zone", False),
        ("k3.network/managed=true,zone", True),
        ("k3.network/managed=true, zone=b", False),
    ],
)
def test_a_selector_holds_where_kubernetes_says_so(text: str, holds: bool) -> None:
    assert parse_selector(text)(LABELS) is holds


@pytest.mark.parametrize("text", ["", ",", "zone=a,", "=a", "zone in (a)", "!zone=a", "zone=a=b", "a/b/c=d", "-x=1"])
def test_a_term_that_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="expected key=value"):
        parse_selector(text)


def test_a_label_that_is_no_string_matches_no_value() -> None:
    assert not parse_selector("zone=1")({"zone": 1})
