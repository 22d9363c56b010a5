"""`k3net report`: what the tests of the last round come to."""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from k3net.cli.client import BadAnswer, Client, add_options
from k3net.cli.shapes import number, object_at
from k3net.cli.table import Column, Row, Table
from k3net.cli.text import cell, json_text, yaml_text
from k3net.cli.verdict import percent, sentences

_PATH = "/api/v1/report"
_LIMIT = 64 * 2**20
_LAYERS = ("host", "pod", "service")
_EXAMPLES = """\
examples:
  k3net report            how many tests there were of hosts, pods and the service, and what their failures mean
  k3net report -o json    the whole report, as GET /api/v1/report gives it
"""


def _style(rate: str) -> str:
    return "green" if rate == "100%" else "" if rate == "-" else "red"


COLUMNS = tuple(Column(title) for title in ("LAYER", "TESTS", "PASSED", "FAILED"))
COLUMNS = (*COLUMNS, Column("SUCCESS", _style), Column("AVERAGE"), Column("TOTAL"), Column("SERVICE"))


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "report",
        help="show what all connectivity tests come to",
        description="Show how many tests between hosts, pods and to the service passed, how long they took, and what "
        "the failures mean. The daemon that is asked is one with checker.server.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "-o", "--output", choices=("table", "json", "yaml"), default="table", help="form (default table)"
    )
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the report."""
    client = Client.of(args)
    report = client.get(_PATH, limit=_LIMIT)
    if not isinstance(report.get("host_test_summary"), dict):
        raise BadAnswer(client.url + _PATH, "JSON that is no report")
    if args.output == "json":
        print(json_text(report))
    elif args.output == "yaml":
        print(yaml_text(report))
    else:
        for name, value in head(report):
            print(f"{name + ':':<10}{value}")
        print(flush=True)
        Table(COLUMNS).write([row(layer, object_at(report, f"{layer}_test_summary")) for layer in _LAYERS])
        for at, sentence in enumerate(sentences(report, "verdicts")):
            print(f"{'' if at else chr(10)}- {sentence}")
    return 0


def head(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What stands above the table, for a report of any shape."""
    agents, coverage = report.get("active_client_count"), object_at(report, "coverage")
    yield "time", cell(report.get("timestamp"), "<unknown>")
    yield "agents", str(agents) if isinstance(agents, int) else "<unknown>"
    if report.get("state") is not None:
        yield "state", cell(report.get("state"), "<unknown>")
    if coverage:
        yield "coverage", ", ".join(f"{layer} {percent(coverage[layer])}" for layer in _LAYERS if layer in coverage)


def row(layer: str, summary: Mapping[str, Any]) -> Row:
    """The cells for the summary of a layer, of any shape."""
    counts = [summary.get(key) for key in ("total_tests", "successful_tests", "failed_tests")]
    rate = number(summary.get("success_rate"))
    return (
        layer,
        *(str(count) if isinstance(count, int) else "<unknown>" for count in counts),
        "-" if rate is None or not counts[0] else percent(rate / 100),
        cell(summary.get("avg_test_duration"), "-"),
        cell(summary.get("total_test_duration"), "-"),
        cell(summary.get("service_name"), "-"),
    )
