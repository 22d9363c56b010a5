"""`k3net explain NODE`: which source and which rule each field of a Node comes from."""

import argparse
import os
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from k3net.cli.client import BadAnswer, Client, add_options
from k3net.cli.shapes import number, object_at, objects_at
from k3net.cli.table import Column, Row, Table
from k3net.cli.text import cell, escaped, human_duration, json_text, yaml_text

_LIMIT = 16 * 2**20
_READY_STYLES = {"True": "green", "False": "red"}
_EXAMPLES = """\
examples:
  k3net explain worker-1           who writes the Node, and where each of its fields comes from
  k3net explain worker-1 -o json   the same for a program
"""


def _style(ready: str) -> str:
    return _READY_STYLES.get(ready, "")


FIELDS = ("  FIELD", "VALUE", "SOURCE", "OBSERVER", "AGE", "RULE")
OBSERVATIONS = ("  SOURCE", "AGE", "TTL", Column("READY", _style), "REASON", "MESSAGE", "ADDRESSES", "PORT")
TRANSITIONS = ("  TIME", Column("READY", _style), "REASON", "MESSAGE")


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "explain",
        help="show where each field of a Node comes from",
        description="Show who writes a Node, which source and which rule each of its fields comes from, what is "
        "observed of its machine, and its last transitions of Ready.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("name", metavar="NODE", help="the Node's name")
    parser.add_argument(
        "-o", "--output", choices=("table", "json", "yaml"), default="table", help="form (default table)"
    )
    add_options(parser)
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Print what the daemon knows of one Node."""
    name = args.name.removeprefix("node/")
    if not name:
        args.parser.error("a name is not empty")
    client = Client.of(args)
    path = f"/api/v1/nodes/{quote(os.fsencode(name), safe='')}/explain"
    answer = client.get(path, limit=_LIMIT)
    if not isinstance(answer.get("fields"), list):
        raise BadAnswer(client.url + path, "JSON that explains no Node")
    if args.output == "json":
        print(json_text(answer))
    elif args.output == "yaml":
        print(yaml_text(answer))
    else:
        _describe(answer)
    return 0


def _describe(answer: dict[str, Any]) -> None:
    for title, value in _head(answer):
        print(f"{title + ':':<11}{value}")
    _section("Fields", FIELDS, map(field_row, objects_at(answer, "fields")))
    _section("Observations", OBSERVATIONS, map(observation_row, objects_at(answer, "observations")))
    _section("Transitions of Ready", TRANSITIONS, map(transition_row, objects_at(answer, "transitions")))


def _head(answer: dict[str, Any]) -> list[tuple[str, str]]:
    members = answer.get("members")
    head = [
        ("Name", cell(answer.get("name"), "<none>")),
        ("Observer", f"{cell(answer.get('observer'), '<unknown>')} (the daemon that was asked)"),
        ("Writer", _writer(answer)),
        ("Members", _joined(members if isinstance(members, list) else [])),
        ("Stored", _stored(answer)),
    ]
    held = "holds back that it goes NotReady; see k3net brake status"
    return [*head, ("Brake", held)] if answer.get("held") is True else head


def _writer(answer: dict[str, Any]) -> str:
    if answer.get("managed") is False:
        return "none: without the label k3.network/managed=true it is another's, and never written"
    writer = cell(answer.get("writer"), "<unknown>")
    return f"{writer}, but it is silent: any member writes" if answer.get("left_alone") is True else writer


def _stored(answer: dict[str, Any]) -> str:
    if answer.get("stored") is not True:
        return "not yet"
    ready, version = cell(answer.get("stored_ready"), "Unknown"), cell(answer.get("resourceVersion"), "<unknown>")
    return f"with Ready {ready}, version {version}"


def field_row(field: Any) -> Row:
    """The cells for one of the fields, of any shape."""
    found = object_at(field)
    return (
        "  " + cell(found.get("field"), "<none>"),
        cell(found.get("value"), "<none>"),
        cell(found.get("source"), "-"),
        cell(found.get("observer"), "-"),
        _age(found.get("age_seconds")),
        cell(found.get("rule"), "<none>"),
    )


def observation_row(observation: Any) -> Row:
    """The cells for one of the observations, of any shape; READY is what it says of the machine now."""
    found = object_at(observation)
    addresses, port = found.get("addresses"), found.get("port")
    return (
        "  " + cell(found.get("source"), "<none>"),
        _age(found.get("age_seconds")),
        _age(found.get("ttl_seconds")),
        str(found.get("ready") is True),
        cell(found.get("reason"), "<none>"),
        cell(found.get("message"), "<none>"),
        _joined(addresses if isinstance(addresses, list) else []),
        str(port) if isinstance(port, int) and 0 < port < 65536 else "<none>",
    )


def transition_row(transition: Any) -> Row:
    """The cells for one of the transitions, of any shape."""
    found = object_at(transition)
    texts = [cell(found.get(key), "<none>") for key in ("at", "status", "reason", "message")]
    return ("  " + texts[0], *texts[1:])


def _section(title: str, columns: "Iterable[str | Column]", rows: Iterable[Row]) -> None:
    lines = list(rows)
    print(f"\n{title}:" if lines else f"\n{title}: <none>", flush=True)
    Table([each if isinstance(each, Column) else Column(each) for each in columns], whole=True).write(lines)


def _age(seconds: Any) -> str:
    found = number(seconds)
    return "-" if found is None else human_duration(found)


def _joined(values: list[Any]) -> str:
    return ", ".join(escaped(value) for value in values if isinstance(value, str) and value) or "<none>"
