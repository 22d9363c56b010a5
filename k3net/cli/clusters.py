"""`k3net clusters`: the clusters that every instance knows, and what became of them."""

import argparse
import sys
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from k3net.cli.client import Client, add_options
from k3net.cli.shapes import objects_at
from k3net.cli.table import Column, Row, Table
from k3net.cli.text import cell, escaped, json_text, yaml_text
from k3net.errors import ConfigError

_PATH = "/api/v1/clusters"
_PAGE = 500
_MOST_PAGES = 100
_LONGEST_FILE = 1 << 18
_PATIENCE = 120.0
_STATES = {"active": "green", "unreachable": "yellow", "invalid": "red", "delivered": "green", "failed": "red"}
_EXAMPLES = """\
examples:
  k3net clusters list                               every cluster, and whether this instance can use it
  k3net clusters create edge -f edge.kubeconfig     store it, load it, tell the other instances
  k3net clusters create edge -f - < edge.kubeconfig
  k3net clusters update edge -d "the lab"           what is not given stays as it is
  k3net clusters delivery edge                      what each instance got of it
  k3net clusters rekey                              encrypt every kubeconfig with the first key of clusters.key_files

Each needs a token of clusters.token_files: --token-file, or K3NET_TOKEN_FILE.
"""

COLUMNS = (
    Column("NAME"),
    Column("STATE", lambda state: _STATES.get(state, "")),
    Column("VERSION"),
    Column("GENERATION"),
    Column("DESCRIPTION", elastic=True),
    Column("REASON", elastic=True),
)
DELIVERY_COLUMNS = (
    Column("INSTANCE"),
    Column("GENERATION"),
    Column("STATE", lambda state: _STATES.get(state, "")),
    Column("TRIES"),
    Column("LAST ERROR", elastic=True),
)


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "clusters",
        help="list, create, change and delete clusters",
        description="List, create, change and delete the clusters that all instances share.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True, title="actions")

    def action(name: str, text: str, run: Any, *, named: bool = True) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=text, description=text[:1].upper() + text[1:] + ".", allow_abbrev=False)
        if named:
            made.add_argument("name", metavar="NAME", help="the cluster's name")
        made.add_argument("-o", "--output", choices=("table", "json", "yaml"), default="table", help="default table")
        add_options(made)
        made.set_defaults(run=run)
        return made

    action("list", "show every cluster", run_list, named=False)
    create = action("create", "store a cluster, load it, and tell the other instances", run_create)
    update = action("update", "change the kubeconfig or the description of a cluster", run_update)
    for parser_of, needed in ((create, True), (update, False)):
        parser_of.add_argument("-f", "--kubeconfig", metavar="FILE", required=needed, help="its kubeconfig; - is stdin")
        parser_of.add_argument("-d", "--description", metavar="TEXT", help="what it is")
    action("show", "show one cluster", run_show)
    action("delete", "delete a cluster everywhere", run_delete)
    action("delivery", "show what each instance got of a cluster", run_delivery)
    action("rekey", "encrypt every kubeconfig with the first key", run_rekey, named=False)


def row(cluster: Mapping[str, Any]) -> Row:
    """The cells for a Cluster of any shape."""
    return (
        cell(cluster.get("name"), "<none>"),
        cell(cluster.get("state"), "<unknown>"),
        cell(cluster.get("version"), "<none>"),
        str(cluster.get("generation", "<none>")),
        cell(cluster.get("description"), "<none>"),
        cell(cluster.get("reason"), "<none>"),
    )


def delivery_row(receipt: Mapping[str, Any]) -> Row:
    """The cells for an item of a DeliveryList of any shape."""
    return (
        cell(receipt.get("instance"), "<none>"),
        str(receipt.get("generation", "<none>")),
        cell(receipt.get("state"), "<unknown>"),
        str(receipt.get("tries", "<none>")),
        cell(receipt.get("last_error"), "<none>"),
    )


def run_list(args: argparse.Namespace) -> int:
    items = list(_pages(Client.of(args)))
    if args.output != "table":
        _print(args, {"kind": "ClusterList", "items": items})
    elif items:
        Table(COLUMNS).write([row(item) for item in items])
    else:
        print("k3net: there are no clusters", file=sys.stderr)
    return 0


def run_create(args: argparse.Namespace) -> int:
    body = {"name": args.name, "description": args.description or "", "kube_config": _kubeconfig(args.kubeconfig)}
    return _show(args, Client.of(args).post(_PATH, body))


def run_update(args: argparse.Namespace) -> int:
    body: dict[str, Any] = {}
    if args.kubeconfig is not None:
        body["kube_config"] = _kubeconfig(args.kubeconfig)
    if args.description is not None:
        body["description"] = args.description
    if not body:
        raise ConfigError("update", "say what is to change: --kubeconfig or --description")
    return _show(args, Client.of(args).put(_path(args.name), body))


def run_show(args: argparse.Namespace) -> int:
    return _show(args, Client.of(args).get(_path(args.name), "Cluster"))


def run_delete(args: argparse.Namespace) -> int:
    gone = Client.of(args).delete(_path(args.name))
    if args.output == "table":
        print(f"cluster {escaped(args.name)} deleted")
    else:
        _print(args, gone)
    return 0


def run_delivery(args: argparse.Namespace) -> int:
    """Exit code 1 when an instance could not be told of the newest generation; older ones may be of one long gone."""
    found = Client.of(args).list(f"{_path(args.name)}/delivery", "DeliveryList")
    items = objects_at(found, "items")
    if args.output != "table":
        _print(args, found)
    elif items:
        Table(DELIVERY_COLUMNS).write([delivery_row(item) for item in items])
    else:
        print("k3net: no instance was told: there was no other", file=sys.stderr)
    newest = found.get("generation")
    return int(any(item.get("state") == "failed" and item.get("generation") == newest for item in items))


def run_rekey(args: argparse.Namespace) -> int:
    """Exit code 1 when a kubeconfig could not be encrypted anew."""
    answer = Client.of(args, deadline=_PATIENCE).post("/api/v1/rekey", {})
    failed = answer.get("failed")
    failed = failed if isinstance(failed, dict) else {}
    if args.output != "table":
        _print(args, answer)
    else:
        print(f"{answer.get('rekeyed', 0)} kubeconfigs encrypted anew")
        for name, reason in sorted(failed.items()):
            print(f"{escaped(name)}: {escaped(str(reason))}", file=sys.stderr)
    return int(bool(failed))


def _pages(client: Client) -> Iterator[dict[str, Any]]:
    after = ""
    for _ in range(_MOST_PAGES):
        found = client.list(f"{_PATH}?{urlencode({'limit': _PAGE, 'continue': after})}", "ClusterList")
        yield from objects_at(found, "items")
        after = str(found.get("continue") or "")
        if not after:
            return


def _show(args: argparse.Namespace, cluster: dict[str, Any]) -> int:
    if args.output == "table":
        Table(COLUMNS).write([row(cluster)])
    else:
        _print(args, cluster)
    return 0


def _print(args: argparse.Namespace, value: Any) -> None:
    print(json_text(value) if args.output == "json" else yaml_text(value))


def _path(name: str) -> str:
    return f"{_PATH}/{quote(name, safe='')}"


def _kubeconfig(path: str) -> str:
    try:
        if path == "-":
            raw = sys.stdin.buffer.read(_LONGEST_FILE + 1)
        else:
            with open(path, "rb") as file:
                raw = file.read(_LONGEST_FILE + 1)
        text = raw.decode()
    except OSError as error:
        raise ConfigError("--kubeconfig", error.strerror or str(error), origin=path) from None
    except UnicodeDecodeError:
        raise ConfigError("--kubeconfig", "is not UTF-8", origin=path) from None
    if len(raw) > _LONGEST_FILE:
        raise ConfigError("--kubeconfig", f"is longer than {_LONGEST_FILE} bytes", origin=path)
    return text
