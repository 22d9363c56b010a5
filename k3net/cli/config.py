"""`k3net config`: check a configuration, show the settings in force, print the schema."""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from k3net.config.dump import public_dump, schema, yaml_text
from k3net.config.load import Loaded, config_path, load
from k3net.errors import ConfigError


def add_parser(subparsers: Any) -> None:
    """Add `config check|dump|schema`; the default `run(args)` gives the exit code."""
    parser = subparsers.add_parser("config", help="check a configuration file, show the settings in force")
    actions = parser.add_subparsers(metavar="ACTION", required=True, title="actions", dest="action")
    check = actions.add_parser("check", help="say whether the settings can be read; exit code 2 if not")
    dump = actions.add_parser("dump", help="print every setting in force and where it comes from, without secrets")
    actions.add_parser("schema", help="print the JSON schema of the configuration file")
    for action in (check, dump):
        action.add_argument("file", metavar="FILE", nargs="?", help="default: CONFIG_PATH, else no file")
    dump.add_argument("-o", "--output", choices=("yaml", "json"), default="yaml", help="default: yaml")
    parser.set_defaults(run=lambda args: run(args, os.environ, sys.stdout, sys.stderr))


def run(args: argparse.Namespace, environ: Mapping[str, str], stdout: TextIO, stderr: TextIO) -> int:
    """Do what `args.action` says: 0, or 2 and one line on `stderr` when the settings cannot be read."""
    if args.action == "schema":
        print(_json(schema()), file=stdout)
        return 0
    path = config_path(args.file, environ)
    try:
        loaded = load(path, environ, {})
    except ConfigError as error:
        print(f"k3net: {error}", file=stderr)
        return 2
    for warning in loaded.warnings:
        print(f"k3net: {warning}", file=stderr)
    print(f"{path or 'no file'}: ok" if args.action == "check" else _dumped(loaded, args.output), file=stdout)
    return 0


def _dumped(loaded: Loaded, form: str) -> str:
    if form == "json":
        return _json(public_dump(loaded.settings))
    return yaml_text(loaded.settings, loaded.origins).rstrip("\n")


def _json(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False)
