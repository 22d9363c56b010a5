"""Tables as kubectl prints them: three spaces between columns, no lines; on a terminal with a little colour."""

import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TextIO

FORMS = ("table", "wide", "json", "yaml", "name")
_GAP = 3
_LEAST = 6  # kubectl's tabwriter: minwidth 6, padding 3
_ELASTIC_LEAST = 15
_ELLIPSIS = "…"

Row = tuple[str, ...]


def _unstyled(_: str) -> str:
    return ""


class Column(NamedTuple):
    """`style(cell)` is a rich style or ""; an elastic column is the first to give way on a narrow terminal."""

    title: str
    style: Callable[[str], str] = _unstyled
    elastic: bool = False


def is_terminal(stream: "TextIO | None") -> bool:
    return stream is not None and stream.isatty()


class Table:
    """Writes rows under one heading; a later call keeps the widths of the earlier ones, as `kubectl get -w` does.

    On a terminal, lines are cut at its width unless `whole` is set, but never inside the first column.
    """

    def __init__(self, columns: Sequence[Column], *, headers: bool = True, whole: bool = False):
        self._columns = tuple(columns)
        self._heading = headers
        self._whole = whole
        self._widths = [_LEAST] * len(self._columns)

    def write(self, rows: Iterable[Row]) -> None:
        """Print `rows` to standard output, after the heading when these are the first."""
        lines = list(rows)
        if self._heading and lines:
            lines.insert(0, tuple(column.title for column in self._columns))
        heading, self._heading = self._heading, self._heading and not lines
        if is_terminal(sys.stdout):
            self._write_styled(lines, heading)
        else:
            self._grow(lines, len)
            for line in lines:
                print(_aligned(line, self._widths))

    def _grow(self, lines: Sequence[Row], width: Callable[[str], int]) -> None:
        for at, least in enumerate(self._widths):
            self._widths[at] = max([least, *(width(line[at]) + _GAP for line in lines)])

    def _write_styled(self, lines: Sequence[Row], heading: bool) -> None:
        from rich.cells import cell_len, set_cell_size
        from rich.console import Console
        from rich.text import Text

        console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
        self._grow(lines, cell_len)
        room = shutil.get_terminal_size().columns
        widths = self._widths if self._whole else fitted(self._widths, [c.elastic for c in self._columns], room)
        for number, line in enumerate(lines):
            text = Text(no_wrap=True)
            for column, value, width in zip(self._columns, line, widths, strict=True):
                shown = value if cell_len(value) <= width - _GAP else set_cell_size(value, width - _GAP - 1) + _ELLIPSIS
                style = "" if heading and number == 0 else column.style(value)
                text.append(shown, style=style).append(" " * (width - cell_len(shown)))
            text.rstrip()
            if not self._whole and text.cell_len > room:
                text.truncate(max(room, widths[0] - _GAP + 1), overflow="ellipsis")
            console.print(text, soft_wrap=True)


def _aligned(line: Row, widths: Sequence[int]) -> str:
    *front, last = line
    return "".join(value.ljust(width) for value, width in zip(front, widths, strict=False)) + last


def fitted(widths: Sequence[int], elastic: Sequence[bool], room: int) -> list[int]:
    """`widths` whose elastic columns, the widest first, have given way until a line fits into `room` or they cannot."""
    fit = list(widths)
    while sum(fit) - _GAP > room:
        widest = max((at for at, gives in enumerate(elastic) if gives), key=lambda at: fit[at], default=None)
        if widest is None or fit[widest] <= _ELASTIC_LEAST:
            break
        fit[widest] -= 1
    return fit
