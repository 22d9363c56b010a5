"""`k3net brake`: whether demotions are held back, and the word that lets them go through."""

import argparse
import time
from typing import Any

from k3net.cli.client import BadAnswer, Client, add_options
from k3net.cli.shapes import number
from k3net.cli.text import escaped, human_duration, json_text
from k3net.model import rfc3339

_PATH = "/api/v1/brake"
_LIMIT = 16 * 2**20
_DESCRIPTION = """\
When most Nodes would go NotReady at once, the likelier news is that this daemon is cut off: the brake
holds them as they are. Each daemon has its own.
"""
_WAYS = """\
They go NotReady if they stay silent and
  - a member that this daemon reaches does not reach them either, or
  - 2 x peer_ttl have passed and this daemon's own network works, or
  - somebody says: k3net brake release"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "brake",
        help="show what the brake holds, let it go through",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True, title="actions")
    status = actions.add_parser("status", help="say what is held, since when, and how it goes through")
    status.add_argument("-o", "--output", choices=("text", "json"), default="text", help="form (default text)")
    release = actions.add_parser("release", help="let what is held go through, and print the names")
    for action, run in ((status, run_status), (release, run_release)):
        add_options(action)
        action.set_defaults(run=run)


def run_status(args: argparse.Namespace) -> int:
    """Print what is held back."""
    client = Client.of(args)
    answer = client.get(_PATH, limit=_LIMIT)
    held = _names(answer, "held", client.url + _PATH)
    if args.output == "json":
        print(json_text(answer))
    elif held:
        print(f"brake: holds {_nodes(held)}{_since(answer.get('held_seconds'))}")
        for name in held:
            print(f"  {name}")
        print(_WAYS)
    elif answer.get("enabled") is False:
        print("brake: switched off by reconcile.brake; nothing is ever held")
    else:
        print("brake: off, nothing is held")
    return 0


def run_release(args: argparse.Namespace) -> int:
    """Let go what is held, and print the names."""
    client = Client.of(args)
    path = f"{_PATH}/release"
    released = _names(client.post(path, {}, limit=_LIMIT), "released", client.url + path)
    if released:
        print(f"released {_nodes(released)}:")
        for name in released:
            print(f"  {name}")
    else:
        print("brake: off, nothing is held")
    return 0


def _names(answer: dict[str, Any], key: str, url: str) -> list[str]:
    names = answer.get(key)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadAnswer(url, f"JSON without the names that are {key}")
    return [escaped(name) for name in names]


def _nodes(names: list[str]) -> str:
    return "1 Node" if len(names) == 1 else f"{len(names)} Nodes"


def _since(seconds: Any) -> str:
    age = number(seconds)
    if age is None or not 0 <= age < 1e9:
        return ""
    return f" for {human_duration(age)}, since {rfc3339.format_seconds(time.time() - age)}"
