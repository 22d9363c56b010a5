"""The lines of a file of tokens, the same for who shows one and for who asks for one."""


def words_of(line: bytes) -> "list[bytes]":
    """The token of a line, and what is said of it; a word that begins with `#` begins a comment."""
    words = line.split()
    end = next((at for at, word in enumerate(words) if word.startswith(b"#")), len(words))
    return words[:end]


def first_token(contents: bytes) -> bytes:
    """The token of the first line that has one, b"" when none has."""
    return next((words[0] for words in map(words_of, contents.splitlines()) if words), b"")
