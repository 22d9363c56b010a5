"""YAML that means what it says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3net.config.strict_yaml import LONGEST, plain_scalar, read_yaml
from k3net.errors import ConfigError

PIECES = [
    *(
        "a",
        "node",
        ":",
        ": ",
        " ",
        "  ",
        "\n",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "? ",
        "#",
        "'",
        '"',
        "\\",
        "|",
        ">",
        "\t",
    ),
    *(
        "&x ",
        "*x",
        "!!int ",
        "!",
        "---",
        "...",
        "%YAML",
        "~",
        "1e9",
        ".nan",
        "<<",
        "\x00",
        "\ufeff",
        "\u2028",
        "é",
        "9" * 30,
    ),
]
YAML_LIKE = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


def error_of(data: bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        read_yaml(data, "f.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("off", "off"),
        ("yes", "yes"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("2026-11-20", "2026-11-20"),
        ("<<", "<<"),
        ("=", "="),
        ("90s", "90s"),
        (":7946", ":7946"),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("007", 7),
        ("0o17", 15),
        ("0x1F", 31),
        ("-12", -12),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("٣", "٣"),
    ],
)
def test_a_plain_scalar_means_what_yaml_1_2_says(text: str, value: object) -> None:
    assert (plain_scalar(text), type(plain_scalar(text))) == (value, type(value))


@pytest.mark.parametrize("text", ["no", "1e3", "007", "true", "null", "12:30", "~"])
def test_quotes_keep_a_text_a_text(text: str) -> None:
    assert read_yaml(f"a: '{text}'\nb: \"{text}\"\n".encode(), "f") == {"a": text, "b": text}


@pytest.mark.parametrize("data", [b"", b"\n\n", b"# only a comment\n", b"---\n", b"\xef\xbb\xbf# a byte order mark\n"])
def test_an_empty_file_is_no_document(data: bytes) -> None:
    assert read_yaml(data, "f") is None


def test_mappings_lists_and_block_texts_nest() -> None:
    document = b"a:\n  - {b: [1, two]}\n  - |\n    x\n    y\nc: >-\n  folded\n  text\n"
    assert read_yaml(document, "f") == {"a": [{"b": [1, "two"]}, "x\ny\n"], "c": "folded text"}


def test_a_file_longer_than_a_mebibyte_is_refused_unread() -> None:
    assert error_of(b"#" * (LONGEST + 1)) == "f.yaml: longer than 1 MiB"


def test_a_mebibyte_of_open_brackets_is_refused_at_once() -> None:
    assert error_of(b"[" * LONGEST) == "f.yaml: line 1: nested deeper than 20 levels"


@pytest.mark.parametrize("data", [b"%YAML " + b"9" * 5000 + b".1\n---\na: 1\n", b'"\\Uffffffff"', b'"\\U00110000"'])
def test_numbers_that_python_cannot_hold_are_no_yaml(data: bytes) -> None:
    assert error_of(data) == "f.yaml: not YAML: a number in it is out of range"


@given(st.one_of(YAML_LIKE.map(str.encode), st.text().map(lambda text: text.encode("utf-8", "replace")), st.binary()))
def test_any_bytes_are_a_document_or_a_config_error_of_one_line(data: bytes) -> None:
    error = refusal_of(data)
    assert error is None or error.startswith("f.yaml: ")
    assert error is None or len(error.splitlines()) == 1


def refusal_of(data: bytes) -> "str | None":
    try:
        read_yaml(data, "f.yaml")
    except ConfigError as error:
        return str(error)
    return None
