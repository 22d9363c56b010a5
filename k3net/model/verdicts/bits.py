"""Square matrices of bits: a mask a row, bit `t` of row `s` is the cell (s, t)."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

_TILE = 256  # bits; eight swaps turn a tile
_WIDTH = _TILE // 8


def bits(mask: int) -> Iterator[int]:
    """The bits that are set, from the lowest."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def transposed(rows: Sequence[int]) -> list[int]:
    """The columns of the square matrix, as rows; no bit stands beyond `len(rows)`."""
    count = len(rows)
    tiles = -(-count // _TILE)
    lines = [row.to_bytes(tiles * _WIDTH, "little") for row in rows]
    lines += [bytes(tiles * _WIDTH)] * (tiles * _TILE - count)
    turned = [
        [_turned(lines[down * _TILE : (down + 1) * _TILE], across * _WIDTH) for down in range(tiles)]
        for across in range(tiles)
    ]
    columns = []
    for column in range(count):
        at = column % _TILE * _WIDTH
        columns.append(int.from_bytes(b"".join(tile[at : at + _WIDTH] for tile in turned[column // _TILE]), "little"))
    return columns


def _turned(lines: Sequence[bytes], at: int) -> bytes:
    """One tile turned by swapping ever smaller blocks (Hacker's Delight, section 7-3), all of a size at once."""
    tile = int.from_bytes(b"".join(line[at : at + _WIDTH] for line in lines), "little")
    if not tile:
        return bytes(_TILE * _WIDTH)
    for shift, mask in _swaps():
        moved = (tile ^ (tile >> shift)) & mask
        tile ^= moved ^ (moved << shift)
    return tile.to_bytes(_TILE * _WIDTH, "little")


@lru_cache(maxsize=1)
def _swaps() -> list[tuple[int, int]]:
    """For each block size: how far its cells move, and which cells (row bit clear, column bit set) do."""
    swaps = []
    for step in (1 << power for power in range(_TILE.bit_length() - 1)):
        line = sum(1 << column for column in range(_TILE) if column & step)
        mask = sum(line << row * _TILE for row in range(_TILE) if not row & step)
        swaps.append((step * (_TILE - 1), mask))
    return swaps
