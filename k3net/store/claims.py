"""What a store owes to claims on subnets: one holder for each, whoever asks at the same time."""

from collections.abc import Iterable
from uuid import uuid4

import msgspec
from zope.interface import Interface

from k3net.model.cidr import network
from k3net.model.claims import Claim


class IClaimStore(Interface):
    """Claims are kept beside the Nodes, in a place of their own that no other program reads.

    As in IStore the calls block, and StoreUnavailable after a write means that its outcome is unknown: asking the same
    again is safe, and tells.
    """

    def claims():  # type: ignore[misc]
        """Every Claim, in no order; what is none is left out."""

    def claim(wanted, instead_of=""):
        """The Claim that is on the subnet after this: `wanted` if `k3net.model.claims.may_write` allows it.

        That is decided in the transaction that writes. The version of `wanted` does not matter; an answer that has
        another owner says who was quicker.
        """

    def release(claim):
        """Take this very claim away; nothing is done when another stands there by now."""


class Record(msgspec.Struct, frozen=True):
    """The JSON of a claim in a store of keys."""

    owner: str
    exact: bool = False


def text_of(claim: Claim) -> bytes:
    return msgspec.json.encode(Record(claim.owner, claim.exact))


def read(subnet: object, text: bytes, version: object) -> "Claim | None":
    """The claim that stands under this subnet; None when that is no network in its one form."""
    try:
        record = msgspec.json.decode(text, type=Record)
    except (msgspec.DecodeError, RecursionError):
        record = Record("")
    return of_columns(subnet, record.owner, record.exact, version)


def of_columns(subnet: object, owner: object, exact: object, version: object) -> "Claim | None":
    """The same from a row."""
    key, name, stamp = map(_text, (subnet, owner, version))
    try:
        return Claim(key, name, bool(exact), stamp) if str(network(key)) == key else None
    except ValueError:
        return None


def known(claims: "Iterable[Claim | None]") -> list[Claim]:
    return [claim for claim in claims if claim is not None]


def new_version() -> str:
    """For stores that count nothing by themselves."""
    return uuid4().hex


def _text(value: object) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
