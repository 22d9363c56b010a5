"""`k3net completion`: the shell's completion of every command and option."""

import argparse
from typing import Any

_EXAMPLES = """\
examples:
  source <(k3net completion bash)
  k3net completion bash > /etc/bash_completion.d/k3net
  k3net completion zsh > "${fpath[1]}/_k3net"
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "completion",
        help="print a completion script for a shell",
        description="Print a script that makes a shell complete k3net's commands and options.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("shell", choices=("bash", "zsh"))
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the script for `args.shell`."""
    import shtab

    from k3net.cli import make_parser

    parser = make_parser()
    _complete_files(parser, shtab.FILE)
    print(shtab.complete(parser, shell=args.shell))
    return 0


def _complete_files(parser: argparse.ArgumentParser, complete: Any) -> None:
    for action in parser._actions:
        if action.metavar in ("FILE", "PATH"):
            action.complete = complete  # type: ignore[attr-defined]
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                _complete_files(child, complete)
