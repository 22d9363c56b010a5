"""A file of tokens is read in one way, by who shows a token and by who asks for it."""

import pytest

from k3net.model.token_line import first_token, words_of


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"token", [b"token"]),
        (b"  token read  # of the lab\r", [b"token", b"read"]),
        (b"token #read", [b"token"]),
        (b"pass#word read", [b"pass#word", b"read"]),
        (b"#token read", []),
        (b" \t", []),
    ],
)
def test_a_line_is_a_token_what_is_said_of_it_and_a_comment(line, words) -> None:
    assert words_of(line) == words


def test_the_first_token_is_that_of_the_first_line_that_has_one() -> None:
    assert first_token(b"# of users\n\n  one write # the boss\ntwo\n") == b"one"
    assert first_token(b"# none\n") == b""
