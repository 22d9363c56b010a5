"""`k3net`, the command line: asks the local daemon's API, and reads its configuration and its store."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from k3net.cli.client import add_options
from k3net.cli.parser import Parser
from k3net.cli.text import escaped
from k3net.errors import ConfigError, K3netError

COMMANDS = (
    "nodes",
    "peers",
    "explain",
    "brake",
    "verdict",
    "report",
    "store",
    "consul",
    "clusters",
    "instances",
    "export",
    "pod-cidr",
    "cni-config",
    "config",
    "version",
    "completion",
)
"""Modules of this package, `-` for `_`; the `add_parser(subparsers)` of each adds the command of its name.

A command's default `run(args)` gives the exit code.
"""


def make_parser(commands: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """The parser of the command line that has these commands; their modules are imported here."""
    parser = argparse.ArgumentParser(
        prog="k3net",
        description="Shows what the k3net daemon of this machine sees.",
        epilog="k3net COMMAND -h explains a command. The daemon itself is started as: twistd -n k3net",
        allow_abbrev=False,
    )
    add_options(parser, os.environ)
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True, title="commands", parser_class=Parser)
    for command in commands:
        importlib.import_module(f"k3net.cli.{command.replace('-', '_')}").add_parser(subparsers)
    return parser


def main(argv: "Sequence[str] | None" = None) -> int:
    """Run the command in `argv` and return its exit code: 0, 1 (failed), 2 (asked wrongly) or 130 (Ctrl-C)."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        args = make_parser(_wanted(argv)).parse_args(argv)
        code: int = args.run(args)
        print(end="", flush=True)
    except ConfigError as error:
        return _failed(str(error), 2)
    except K3netError as error:
        return _failed(str(error))
    except BrokenPipeError:
        return 0
    except OSError as error:
        return _failed(error.strerror or str(error))
    except RecursionError:
        return _failed("the answer is nested too deeply to be shown")
    except KeyboardInterrupt:
        return 130
    return code


def _wanted(argv: "Sequence[str] | None") -> Sequence[str]:
    """Only the command that `argv` names, so that start-up does not pay for the others; all when it names none."""
    options = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    add_options(options)
    try:
        rest = options.parse_known_args(argv)[1]
    except argparse.ArgumentError:
        return COMMANDS
    return rest[:1] if rest[:1] and rest[0] in COMMANDS else COMMANDS


def _failed(reason: str, code: int = 1) -> int:
    print(f"k3net: {escaped(reason)}", file=sys.stderr)
    return code
