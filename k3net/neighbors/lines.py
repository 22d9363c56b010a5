"""A table from lines of text: what is not understood is said, and a table that is not understood at all is an error."""

from collections.abc import Callable, Iterable

from k3net.errors import K3netError
from k3net.neighbors.entry import Neighbor, Table

_LONGEST = 1000
_SHOWN = 80


class UnreadableTable(K3netError):
    """The neighbour table cannot be read: never the same as an empty one."""


def table_of(source: str, lines: Iterable[str], row: Callable[[str], Neighbor | None]) -> Table:
    """`row` gives None for a line without a neighbour, and raises ValueError for one that it does not understand."""
    found: list[Neighbor] = []
    strange: list[str] = []
    for line in lines:
        if not line.strip():
            continue
        try:
            neighbor = row(line[:_LONGEST])
        except ValueError:
            strange.append(line)
            continue
        if neighbor is not None:
            found.append(neighbor)
    if not strange:
        return Table(tuple(found))
    first = strange[0].strip()[:_SHOWN]
    if not found:
        raise UnreadableTable(f"{source} gives no table that is understood: {first!r}")
    count = f"{len(strange)} line{'s' * (len(strange) != 1)}"
    return Table(tuple(found), (f"{count} of {source} not understood, the first is {first!r}",))
