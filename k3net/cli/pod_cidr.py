"""`k3net pod-cidr`: which pod CIDR is this node's, and who says so. Needs no daemon and no Kubernetes API."""

import argparse
import os
import sys
from collections.abc import Mapping
from typing import Any

from k3net.cli.text import escaped, json_text, yaml_text
from k3net.config.load import config_path, load
from k3net.config.strict_yaml import read_documents
from k3net.errors import ConfigError, K3netError
from k3net.pod_cidr import Answer, Asked, Said, explain, find
from k3net.pod_cidr.search import MAY_BE_INACCURATE

_TITLES = {"node": "Node CIDR", "cluster": "Cluster CIDR", "service": "Service CIDR"}


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "pod-cidr",
        help="say which pod CIDR is this node's, from local files",
        description="Say which pod CIDR is this node's: from the settings, NODE_POD_CIDR, and the files of Kubernetes "
        "and k3s on this machine; else by the hash of the node's name, which may be inaccurate.",
        allow_abbrev=False,
    )
    add_options(parser)
    parser.add_argument("-o", "--output", choices=("text", "json", "yaml"), default="text", help="form (default text)")
    parser.add_argument("--explain", action="store_true", help="print every source in order and what it said")
    parser.set_defaults(run=run)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those that say for which node, and from where."""
    parser.add_argument("--node-name", metavar="NAME", help="the node (node.name, NODE_NAME; default the hostname)")
    parser.add_argument("--root", metavar="DIR", default="/", help="read the files below DIR, such as /host")
    parser.add_argument("--config", metavar="FILE", help="the configuration file (CONFIG_PATH; default none)")


def run(args: argparse.Namespace) -> int:
    """Print the answer; ConfigError names what is wrong, after the sources when they were asked for."""
    question = asked(args, os.environ)
    if not args.explain:
        _print(find(question), args.output)
        return 0
    said, answer = explain(question)
    if args.output == "text":
        print("\n".join(_lines(said)), flush=True)
    if isinstance(answer, K3netError):
        if args.output != "text":
            print(_form({"explain": _rows(said), "error": str(answer)}, args.output), flush=True)
        raise answer
    if args.output == "text":
        print()
    _print(answer, args.output, said)
    return 0


def asked(args: argparse.Namespace, environ: Mapping[str, str]) -> Asked:
    """The question that the options and the settings put."""
    loaded = load(config_path(args.config, environ), environ, {"node_name": args.node_name})
    for warning in loaded.warnings:
        print(f"k3net: {escaped(warning)}", file=sys.stderr)
    if not os.path.isdir(args.root):
        raise ConfigError("", "not a directory", f"--root {args.root}")
    settings = loaded.settings
    network = settings.network
    return Asked(
        str(settings.node.name),
        read_documents,
        environ,
        base=network.podCIDR.base,
        per_node=network.podCIDR.perNode,
        node_local=network.podCIDR.nodeLocal,
        service=network.serviceCIDR,
        root=args.root,
    )


def _print(answer: Answer, form: str, said: "list[Said] | None" = None) -> None:
    document = answer.as_json()
    if form != "text":
        print(_form(document if said is None else {**document, "explain": _rows(said)}, form))
        return
    for title, value in (
        ("Pod CIDR", ", ".join(document["podCIDRs"])),
        ("Node", document["node"]),
        ("Cluster CIDR", ", ".join(document["clusterCIDRs"]) or "<unknown>"),
        ("Service CIDR", ", ".join(document["serviceCIDRs"])),
        ("Source", document["source"]),
        ("Exact", "yes" if answer.exact else f"no, {MAY_BE_INACCURATE}"),
    ):
        print(f"{title + ':':<14}{escaped(value)}")


def _form(document: Any, form: str) -> str:
    return json_text(document) if form == "json" else yaml_text(document)


def _rows(said: list[Said]) -> list[dict[str, Any]]:
    return [row._asdict() for row in said]


def _lines(said: list[Said]) -> list[str]:
    """Each source under what it was asked for, a `*` before the one that counts."""
    lines = []
    width = max(len(row.source) for row in said)
    about = ""
    for row in said:
        if row.about != about:
            lines.append(_TITLES[row.about] + ":")
        about = row.about
        lines.append(f"{'*' if row.chosen else ' '} {row.source:<{width}}  {escaped(row.answer)}")
    return lines
