"""`k3net instances`: the other instances that this one tells of clusters."""

import argparse
import sys
from typing import Any

from k3net.cli.client import Client, add_options
from k3net.cli.shapes import objects_at
from k3net.cli.table import Column, Table
from k3net.cli.text import cell, json_text, yaml_text

_PATH = "/api/v1/instances"
COLUMNS = (Column("ADDRESS"), Column("INSTANCE"))


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "instances",
        help="show the other instances",
        description="Show the other instances of the clusters API as they are found now. It needs a token.",
        allow_abbrev=False,
    )
    parser.add_argument("-o", "--output", choices=("table", "json", "yaml"), default="table", help="default table")
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print them."""
    found = Client.of(args).list(_PATH, "InstanceList")
    items = objects_at(found, "items")
    if args.output != "table":
        print(json_text(found) if args.output == "json" else yaml_text(found))
    elif items:
        Table(COLUMNS).write([(cell(i.get("address"), "<none>"), cell(i.get("instance"), "<unknown>")) for i in items])
    else:
        print("k3net: no other instance is found", file=sys.stderr)
    return 0
