"""`k3net consul status`: this machine in Consul, as the daemon and Consul see it."""

import argparse
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from k3net.cli.client import Client, add_options
from k3net.cli.shapes import number, object_at, objects_at
from k3net.cli.table import Column, Table
from k3net.cli.text import cell, escaped, human_duration, json_text, yaml_text

_PATH = "/api/v1/consul"
_LIMIT = 1 << 22
_STYLES = {"passing": "green", "warning": "yellow", "critical": "red"}
_EXAMPLES = """\
examples:
  k3net consul status            registered as what, its checks, last index and last error
  k3net consul status -o json    the same, whole

Exit code 0 means registered and in touch with Consul, 1 that it is not.
"""

CHECKS = (Column("CHECK"), Column("STATUS", lambda status: _STYLES.get(status, "")), Column("OUTPUT", elastic=True))


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "consul",
        help="show this machine in Consul",
        description="Show this machine's registration in Consul, its checks, and how the daemon's watch does.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("what", choices=("status",), help="what to show")
    parser.add_argument("-o", "--output", choices=("text", "json", "yaml"), default="text", help="form (default text)")
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the status."""
    status = Client.of(args).get(_PATH, "ConsulStatus", limit=_LIMIT)
    if args.output != "text":
        print(json_text(status) if args.output == "json" else yaml_text(status))
    elif status.get("enabled") is not True:
        print("k3net: Consul is off: it needs a section consul in the file, or --consul-addr", file=sys.stderr)
    else:
        for name, value in lines(status):
            print(f"{name + ':':<14}{value}")
        checks = objects_at(status, "checks")
        if checks:
            print()
            Table(CHECKS).write([_check(check) for check in checks])
    return 0 if _is_well(status) else 1


def lines(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What stands above the checks, for a status of any shape."""
    registration = object_at(status, "registration")
    yield "consul", cell(status.get("url"), "<unknown>")
    name = cell(registration.get("serviceID"), "<unknown>")
    port = registration.get("port")
    where = f"{cell(registration.get('address'), '<none>')} port {port if isinstance(port, int) else '<none>'}"
    word = "registered" if registration.get("registered") is True else "not registered"
    yield "registration", f"{word} as {name} of {cell(registration.get('service'), '<unknown>')} at {where}"
    if registration.get("error"):
        yield "", cell(registration.get("error"), "")
    instances, index, age = status.get("instances"), status.get("index"), number(status.get("age_seconds"))
    counted = f"{instances} instance{'' if instances == 1 else 's'}" if isinstance(instances, int) else "none yet"
    when = "" if age is None else f", {human_duration(age)} ago"
    yield "last answer", f"{counted}{when}, index {index if isinstance(index, int) else '<none>'}"
    failing = number(status.get("failing_seconds"))
    error = cell(status.get("error"), "<none>")
    yield "last error", error if failing is None else f"{error} (for {human_duration(failing)})"


def _check(check: Mapping[str, Any]) -> tuple[str, str, str]:
    output = check.get("output")
    first = output.strip().split("\n")[0] if isinstance(output, str) else ""
    return cell(check.get("name"), "<none>"), cell(check.get("status"), "<none>"), escaped(first) or "<none>"


def _is_well(status: Mapping[str, Any]) -> bool:
    registered = object_at(status, "registration").get("registered") is True
    return registered and not status.get("error")
