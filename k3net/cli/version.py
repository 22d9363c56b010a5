"""`k3net version`: of this client, and of the daemon when one answers."""

import argparse
from typing import Any

from k3net import __version__
from k3net.cli.client import ApiError, BadAnswer, Client, NoAnswer, add_options
from k3net.cli.text import cell, escaped, json_text

_PATH = "/api/v1/version"
_DEADLINE = 2.0
_LIMIT = 2**16


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "version",
        help="show the versions of this command and of the daemon",
        description="Show the version of this command, and of the daemon when one answers.",
        allow_abbrev=False,
    )
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="form (default text)")
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print both versions; a daemon that does not answer is no failure."""
    client = Client.of(args, deadline=_DEADLINE)
    version, reason = "", ""
    try:
        version = cell(client.get(_PATH, limit=_LIMIT).get("version"), "<unknown>")
    except NoAnswer as error:
        reason = error.reason
    except (ApiError, BadAnswer) as error:
        reason = str(error)
    if args.output == "json":
        daemon = {"address": client.url, "version": version or None, "error": reason}
        print(json_text({"client": {"version": __version__}, "daemon": daemon}))
    else:
        print(f"client: {__version__}")
        why = f" ({escaped(reason)})" if reason else ""
        print(f"daemon: {version or 'not reachable'} at {client.url}{why}")
    return 0
