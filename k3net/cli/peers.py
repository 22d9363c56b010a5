"""`k3net peers`: the machines that the daemon sees, and how it knows."""

import argparse
import sys
from typing import Any

from k3net.cli.client import Client, add_options
from k3net.cli.shapes import number, object_at, objects_at
from k3net.cli.table import FORMS, Column, Row, Table
from k3net.cli.text import cell, escaped, human_duration, json_text, yaml_text

_PATH = "/api/v1/peers"
_READY_STYLES = {"True": "green", "False": "red", "Unknown": "yellow"}
_EXAMPLES = """\
examples:
  k3net peers                  every peer; KIND is own (this machine), member (shares the store) or peer
  k3net peers -o wide          with what was verified, and the message behind the reason
  k3net peers -o json          every observation, with its age and ttl
"""

COLUMNS = (
    Column("NAME"),
    Column("KIND"),
    Column("ADDRESSES", elastic=True),
    Column("PORT"),
    Column("SOURCES"),
    Column("READY", lambda ready: _READY_STYLES.get(ready, "")),
    Column("REASON", elastic=True),
    Column("AGE"),
    Column("PROBE"),
)
WIDE_COLUMNS = (*COLUMNS, Column("VERIFIED"), Column("MESSAGE"))


def row(peer: Any) -> Row:
    """The cells for an item of a PeerList of any shape; AGE is the time since the peer was last heard."""
    observations = objects_at(object_at(peer), "observations")
    ages = [age for age in (number(each.get("age_seconds")) for each in observations) if age is not None]
    peer = object_at(peer)
    addresses = peer.get("addresses")
    port = peer.get("port")
    return (
        cell(peer.get("name"), "<none>"),
        "own" if peer.get("own") is True else "member" if peer.get("member") is True else "peer",
        _joined(addresses if isinstance(addresses, list) else []),
        str(port) if isinstance(port, int) and 0 < port < 65536 else "<none>",
        _joined([each.get("source") for each in observations]),
        cell(peer.get("ready"), "Unknown"),
        cell(peer.get("reason"), "<none>"),
        human_duration(min(ages)) if ages else "<unknown>",
        _probe(peer.get("last_probe")),
    )


def wide_row(peer: Any) -> Row:
    """`row`, VERIFIED and MESSAGE."""
    found = object_at(peer)
    return (*row(peer), "yes" if found.get("verified") is True else "no", cell(found.get("message"), "<none>"))


def _joined(values: list[Any]) -> str:
    return ",".join(dict.fromkeys(escaped(value) for value in values if isinstance(value, str) and value)) or "<none>"


def _probe(probe: Any) -> str:
    if not isinstance(probe, dict):
        return "-"
    if probe.get("ok") is not True:
        return cell(probe.get("reason"), "failed")
    rtt = number(probe.get("rtt_seconds"))
    return "ok" if rtt is None else f"ok {rtt * 1000:.1f}ms"


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "peers",
        help="show the peers",
        description="Show the machines that the daemon sees, by what they were seen, and the last probe of each.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-o", "--output", choices=FORMS, default="table", help="form (default table)")
    parser.add_argument("--no-headers", action="store_true", help="leave out the heading of the table")
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the peers."""
    answer = Client.of(args).list(_PATH, "PeerList")
    peers = answer["items"]
    if args.output == "json":
        print(json_text(answer))
    elif args.output == "yaml":
        print(yaml_text(answer))
    elif not peers:
        print("No resources found", file=sys.stderr)
    elif args.output == "name":
        for peer in peers:
            print(f"peer/{row(peer)[0]}")
    else:
        wide = args.output == "wide"
        table = Table(WIDE_COLUMNS if wide else COLUMNS, headers=not args.no_headers, whole=wide)
        table.write([wide_row(peer) if wide else row(peer) for peer in peers])
    return 0
