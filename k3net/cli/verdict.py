"""`k3net verdict`: what is broken between the nodes, and where to look."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from k3net.cli.client import Client, add_options
from k3net.cli.shapes import number, objects_at
from k3net.cli.table import Column, Row, Table
from k3net.cli.text import cell, escaped, json_text, yaml_text
from k3net.model.percent import rounded_percent

_PATH = "/api/v1/verdicts"
_STYLES = {"unknown": "yellow", "scattered": "yellow", "partial": "yellow", "loss": "yellow"}
_EXAMPLES = """\
examples:
  k3net verdict                each cause of failures, as a sentence
  k3net verdict -o wide        with all nodes, links and sets that it concerns
  k3net verdict --exit-code    for scripts: 0 when healthy, 1 when something is broken or too little was measured
"""


def _style(kind: str) -> str:
    return _STYLES.get(kind, "red")


COLUMNS = (Column("KIND", _style), Column("LAYER"), Column("FAILED"), Column("TESTS"), Column("VERDICT"))
WIDE_COLUMNS = (*COLUMNS[:-1], Column("CONCERNS"), COLUMNS[-1])


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "verdict",
        help="say what is broken between the nodes",
        description="Show the smallest explanation of the tests between nodes, pods and services that fail: one line "
        "for each cause. The daemon that is asked is one with checker.server.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "-o", "--output", choices=("table", "wide", "json", "yaml"), default="table", help="form (default table)"
    )
    parser.add_argument("--no-headers", action="store_true", help="leave out the heading of the table")
    parser.add_argument(
        "--exit-code", action="store_true", help="exit with 1 when something is broken or too little was measured"
    )
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the verdicts."""
    answer = Client.of(args).list(_PATH, "VerdictList")
    found = answer["items"]
    if args.output == "json":
        print(json_text(answer))
    elif args.output == "yaml":
        print(yaml_text(answer))
    elif found:
        wide = args.output == "wide"
        table = Table(WIDE_COLUMNS if wide else COLUMNS, headers=not args.no_headers, whole=True)
        table.write([wide_row(each) if wide else row(each) for each in found])
    else:
        print("healthy: nothing is broken")
    return 1 if args.exit_code and found else 0


def row(verdict: Mapping[str, Any]) -> Row:
    """The cells for an item of a VerdictList of any shape."""
    tests = verdict.get("tests")
    return (
        cell(verdict.get("kind"), "<none>"),
        _layer(verdict),
        percent(verdict.get("share")) if tests else "-",
        str(tests) if isinstance(tests, int) and tests > 0 else "-",
        cell(verdict.get("text"), "<none>"),
    )


def wide_row(verdict: Mapping[str, Any]) -> Row:
    """`row` with all that the verdict concerns before its text."""
    *front, text = row(verdict)
    return (*front, concerns(verdict), text)


def percent(share: Any) -> str:
    """A share from 0 to 1 as `98.5%`, and as 0 or 100 only when it is that."""
    found = number(share)
    return "-" if found is None else f"{rounded_percent(found, 1):g}%"


def _layer(verdict: Mapping[str, Any]) -> str:
    layer, protocol = cell(verdict.get("layer"), "-"), verdict.get("protocol")
    return f"{layer}/{escaped(protocol)}" if isinstance(protocol, str) and protocol else layer


def concerns(verdict: Mapping[str, Any]) -> str:
    """The nodes, links, sets or service by name: `a,b`, `a-b`, `a,b|c,d`; `all` when it concerns everything."""
    links = [_joined(each, "-") for each in _lists(verdict, "links")]
    sets = [_joined(each, ",") for each in _lists(verdict, "sets")]
    service = verdict.get("service")
    parts = (
        _joined(verdict.get("nodes"), ","),
        ",".join(links),
        "|".join(sets),
        escaped(service) if isinstance(service, str) else "",
    )
    return " ".join(filter(None, parts)) or "all"


def _lists(verdict: Mapping[str, Any], key: str) -> list[Any]:
    found = verdict.get(key)
    return found if isinstance(found, list) else []


def _joined(names: Any, by: str) -> str:
    return by.join(escaped(name) for name in names if isinstance(name, str)) if isinstance(names, list) else ""


def sentences(answer: Mapping[str, Any], key: str) -> Sequence[str]:
    """The texts of the verdicts at `key`."""
    return [cell(verdict.get("text"), "<none>") for verdict in objects_at(answer, key)]
