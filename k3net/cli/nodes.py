"""`k3net nodes`: the Nodes, as `kubectl get nodes` shows them."""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from k3net.cli.client import ApiError, Client, add_options
from k3net.cli.node_rows import COLUMNS, WIDE_COLUMNS, row, substance, wide_row
from k3net.cli.selector import parse_selector
from k3net.cli.shapes import object_at
from k3net.cli.table import FORMS, Table
from k3net.cli.text import escaped, json_text, yaml_text
from k3net.cli.watch import watch

_PATH = "/api/v1/nodes"
_ONE_LIMIT = 16 * 2**20
_EXAMPLES = """\
examples:
  k3net nodes                          every Node
  k3net nodes -o wide                  with addresses, last seen and the reason of the Ready condition
  k3net nodes worker-1 -o yaml         one Node, in full
  k3net nodes -l k3.network/managed=true -o name
  k3net nodes --watch                  a row more whenever a Node changes, until Ctrl-C
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "nodes",
        help="show the Nodes",
        description="Show the Nodes that the daemon keeps, as `kubectl get nodes` does.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", type=_name, help="only these Nodes")
    parser.add_argument("-o", "--output", choices=FORMS, default="table", help="form (default table)")
    parser.add_argument("-w", "--watch", action="store_true", help="go on, and show each Node that changes")
    parser.add_argument("--no-headers", action="store_true", help="leave out the heading of the table")
    parser.add_argument(
        "-l",
        "--selector",
        metavar="LABELS",
        type=_selector,
        help="only Nodes with these labels: key=value, key!=value, key or !key, joined by commas",
    )
    add_options(parser)
    parser.set_defaults(run=run, parser=parser)


def _name(text: str) -> str:
    name = text.removeprefix("node/")
    if not name:
        raise argparse.ArgumentTypeError("a name is not empty")
    return name


def _selector(text: str) -> Any:
    try:
        return parse_selector(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def run(args: argparse.Namespace) -> int:
    """Print the Nodes that `args` asks for; 1 when one that it names is missing."""
    if args.names and args.selector:
        args.parser.error("names and a selector cannot go together")
    if args.watch and len(args.names) > 1:
        args.parser.error("--watch takes one name, or none for every Node")
    client = Client.of(args)
    if args.watch:
        _watch(client, args)
    missing: list[ApiError] = []
    if len(args.names) == 1:
        answer = _get(client, args.names[0])
        nodes = [answer]
    elif args.names:
        nodes, missing = _get_each(client, args.names)
        answer = {"apiVersion": "v1", "kind": "NodeList", "metadata": {"resourceVersion": ""}, "items": nodes}
    else:
        answer = client.list(_PATH, "NodeList")
        nodes = list(_selected(answer["items"], args.selector))
        answer = {**answer, "items": nodes}
    if args.output == "json":
        print(json_text(answer))
    elif args.output == "yaml":
        print(yaml_text(answer))
    else:
        _table_or_names(args)(nodes)
    print(end="", flush=True)
    for error in missing:
        print(f"k3net: {escaped(str(error))}", file=sys.stderr)
    return 1 if missing else 0


def _get(client: Client, name: str) -> dict[str, Any]:
    return client.get(f"{_PATH}/{quote(os.fsencode(name), safe='')}", "Node", limit=_ONE_LIMIT)


def _get_each(client: Client, names: list[str]) -> tuple[list[dict[str, Any]], list[ApiError]]:
    nodes: list[dict[str, Any]] = []
    missing: list[ApiError] = []
    for name in names:
        try:
            nodes.append(_get(client, name))
        except ApiError as error:
            if error.status != 404:
                raise
            missing.append(error)
    return nodes, missing


def _selected(nodes: list[dict[str, Any]], selector: Any) -> Iterator[dict[str, Any]]:
    return (node for node in nodes if selector is None or selector(object_at(node, "metadata", "labels")))


def _table_or_names(args: argparse.Namespace) -> Any:
    wide = args.output == "wide"
    table = Table(WIDE_COLUMNS if wide else COLUMNS, headers=not args.no_headers, whole=wide)

    def show(nodes: list[dict[str, Any]]) -> None:
        now = time.time()
        if not nodes:
            print("No resources found", file=sys.stderr)
        elif args.output == "name":
            for node in nodes:
                print(f"node/{row(node, now)[0]}")
        else:
            table.write([(wide_row if wide else row)(node, now) for node in nodes])

    return show


def _watch(client: Client, args: argparse.Namespace) -> None:
    def look() -> Iterator[tuple[str, Any, Any]]:
        if args.names:
            nodes = [_get(client, args.names[0])]
        else:
            nodes = list(_selected(client.list(_PATH, "NodeList")["items"], args.selector))
        return ((str(object_at(node, "metadata").get("name")), substance(node), node) for node in nodes)

    def documents(nodes: list[dict[str, Any]]) -> None:
        for node in nodes:
            print(json_text(node) if args.output == "json" else f"---\n{yaml_text(node)}")

    watch(look, documents if args.output in ("json", "yaml") else _table_or_names(args))
