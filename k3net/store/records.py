"""JSON text to Node and back: a record survives with everything in it that k3net does not know."""

import json
from collections.abc import Iterable
from decimal import Decimal, DecimalException
from hashlib import blake2b
from typing import Any, NoReturn

import msgspec

from k3net.errors import CorruptRecord
from k3net.model.node import Node

LARGEST = 1_500_000
"""Bytes of a record's text; etcd takes 1.5 MiB a request."""
DEEPEST = 100
"""Objects and lists within one another."""

_encoder = msgspec.json.Encoder(decimal_format="number")
_decoder = msgspec.json.Decoder()


def token(version: object, text: bytes) -> str:
    """The version of a record that holds this text: "17-9f86d081884c7d65".

    The digest is there because a foreign writer may change the text and leave the number as it was.
    """
    return f"{version}-{blake2b(text, digest_size=8).hexdigest()}"


def encode(node: Node) -> str:
    """The text to store; ValueError says why this manifest cannot be."""
    if node.manifest["metadata"]["name"] != node.name:
        raise ValueError("names another Node")
    try:
        text: bytes = _encoder.encode(node.manifest)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"no JSON: {error}") from error
    if len(text) > LARGEST:
        raise ValueError(f"{len(text)} bytes, more than {LARGEST}")
    return text.decode()


def decode(name: str, text: object, version: object) -> Node:
    """The Node in a stored text (bytes or str), its version a `token`; CorruptRecord when it is none.

    Numbers keep their value: one that no float holds becomes a Decimal. NaN, a key given twice, a lone surrogate,
    more than DEEPEST levels and more than LARGEST bytes are corrupt.
    """
    text = _bytes(name, text)
    return Node.from_manifest(parse(name, text), token(version, text), name)


def parse(name: str, text: object) -> Any:
    """The value of a text that is all or a part of the record `name`; CorruptRecord as `decode`."""
    text = _bytes(name, text)
    try:
        return _parse(text)
    except RecursionError:
        raise CorruptRecord(name, f"more than {DEEPEST} levels deep") from None
    except (ValueError, DecimalException) as error:
        raise CorruptRecord(name, f"no JSON: {error}") from error


def fragment(part: Any) -> str:
    """The text of a part of a manifest that `encode` takes."""
    text: bytes = _encoder.encode(part)
    return text.decode()


def read(name: str, text: object, version: object) -> Node | CorruptRecord:
    """Like `decode`, with the error as a value."""
    try:
        return decode(name, text, version)
    except CorruptRecord as error:
        return error


def complaint(listing: Iterable[Node | CorruptRecord]) -> str:
    """What to do about the corrupt records of a listing, in one line; "" when there are none."""
    corrupt = [record for record in listing if isinstance(record, CorruptRecord)]
    if not corrupt:
        return ""
    count = "1 record is" if len(corrupt) == 1 else f"{len(corrupt)} records are"
    first = min(corrupt, key=lambda record: record.name)
    return f"{count} corrupt and left alone; mend or delete {first.name!r} ({first.reason})"


def _bytes(name: str, text: object) -> bytes:
    if isinstance(text, str):
        text = text.encode("utf-8", "surrogatepass")
    if not isinstance(text, bytes):
        raise CorruptRecord(name, "no text")
    if len(text) > LARGEST:
        raise CorruptRecord(name, f"{len(text)} bytes, more than {LARGEST}")
    return text


def _parse(text: bytes) -> Any:
    if text.count(b"{") + text.count(b"[") <= DEEPEST:
        try:
            value = _decoder.decode(text)
            if _encoder.encode(value) == text:
                return value  # what is written back as it was has lost nothing; the rest is read with more care
        except (msgspec.DecodeError, ValueError):
            pass
    value = json.loads(text.decode(), object_pairs_hook=_unique, parse_float=_exact, parse_constant=_refuse_constant)
    _check_depth(value, DEEPEST)
    _encoder.encode(value)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _exact(text: str) -> "float | Decimal":
    number = float(text)
    exact = Decimal(text)
    return number if Decimal(repr(number)) == exact else exact


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _check_depth(value: Any, left: int) -> None:
    if not isinstance(value, dict | list):
        return
    if not left:
        raise RecursionError
    for part in value.values() if isinstance(value, dict) else value:
        _check_depth(part, left - 1)
