"""`k3net export`: the neighbours of this machine, once or as they come and go."""

import argparse
import sys
from typing import Any

from k3net.cli.export_run import main
from k3net.export.request import HELP

_EXAMPLES = """\
examples:
  k3net export --format table                      who is on this LAN, as far as the kernel knows
  k3net export --format cmd | while read -r ip name mac; do ...; done
  k3net export --cidr 192.168.1.0/24 --output lan.json
  k3net export --watch --format cmd                who comes and goes, until Ctrl-C
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "export",
        help="print the machines in the neighbour table (ARP, ND)",
        description="Print what the kernel's neighbour table has learnt of the machines beside this one; no probe is "
        "sent, and no daemon is needed.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        brief=True,
    )
    parser.add_argument("--cidr", metavar="CIDR", action="append", help=HELP["cidr"])
    parser.add_argument("--timeout", metavar="DURATION", help=HELP["timeout"])
    parser.add_argument("--format", metavar="FORM", help=HELP["format"])
    parser.add_argument("--output", metavar="PATH", help=HELP["output"])
    parser.add_argument("--resolve-dns", metavar="BOOL", nargs="?", const="true", help=HELP["resolve-dns"])
    parser.add_argument("--dns-timeout", metavar="DURATION", help=HELP["dns-timeout"])
    parser.add_argument("--family", metavar="FAMILY", help=HELP["family"])
    parser.add_argument("--watch", "-w", action="store_true", help="go on, and print each change as it comes")
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Print the export, or with --watch go on."""
    words = {name.replace("_", "-"): value for name, value in vars(args).items()}
    if args.watch and args.output is not None:
        args.parser.error("--watch and --output cannot go together")
    if not args.watch:
        return main(words, "k3net export")
    from k3net.cli.export_watch import watch

    if not sys.platform.startswith("linux"):
        args.parser.error("--watch needs Linux")
    return main(words, "k3net export", watch)
