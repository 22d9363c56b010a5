"""Every way to get a file wrong: its first line is the error it gives."""

from pathlib import Path

import pytest

from k3net.config import load
from k3net.errors import ConfigError

DATA = Path(__file__).parents[1] / "data/config"
FILES = sorted(DATA.glob("invalid-*.yaml"))


def test_there_are_files() -> None:
    assert len(FILES) > 70


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem.removeprefix("invalid-"))
def test_a_wrong_file_gives_the_one_line_it_begins_with(file: Path) -> None:
    expected = file.read_bytes().split(b"\n", 1)[0].decode().removeprefix("# error: ")
    with pytest.raises(ConfigError) as caught:
        load(str(file), {}, {}, hostname=lambda: "lab7")
    assert str(caught.value) == f"{file}: {expected}"
