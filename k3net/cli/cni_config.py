"""`k3net cni-config`: a CNI configuration that gives this node's pods their addresses."""

import argparse
import json
import os
import stat
import sys
import tempfile
from contextlib import suppress
from typing import Any

from k3net.cli.client import Client, add_options
from k3net.cli.pod_cidr import add_options as add_pod_cidr_options
from k3net.cli.pod_cidr import asked
from k3net.cli.shapes import object_at
from k3net.errors import K3netError
from k3net.model.cidr import Net, networks
from k3net.pod_cidr import find
from k3net.pod_cidr.search import MAY_BE_INACCURATE

PATH = "/etc/cni/net.d/10-k3net.conflist"
_MOST_BACKUPS = 100
_LIMIT = 2**16
_LONGEST = 2**20
_DEADLINE = 3.0
_ALL = {4: "0.0.0.0/0", 6: "::/0"}


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "cni-config",
        help="print or write a CNI configuration for this node's pod CIDR",
        description="Print a CNI configuration list (bridge and host-local, cniVersion 0.4.0) for this node's pod "
        "CIDR, or write it. Where the CIDR is a hash, the daemon is asked which one the node holds.",
        allow_abbrev=False,
    )
    add_pod_cidr_options(parser)
    parser.add_argument(
        "--write",
        metavar="FILE",
        nargs="?",
        const=PATH,
        help=f"write it to FILE (default {PATH}) if that changes it; what was there is kept as FILE.bak",
    )
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the configuration, or write it and say what was done."""
    text = conflist(_pod_cidrs(args))
    if args.write is None:
        print(text, end="")
        return 0
    try:
        print(write(args.write, text.encode()))
    except OSError as error:
        raise K3netError(f"{args.write}: {(error.strerror or str(error)).lower()}") from None
    return 0


def conflist(cidrs: "tuple[Net, ...]") -> str:
    """The network configuration list of CNI specification 0.4.0 for pods of these CIDRs."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": str(net)}] for net in cidrs],
            "routes": [{"dst": _ALL[net.version]} for net in cidrs],
        },
    }
    return json.dumps({"cniVersion": "0.4.0", "name": "k3net", "plugins": [bridge]}, indent=2) + "\n"


def write(path: str, data: bytes) -> str:
    """Put `data` at `path` in one step, and say what was done; what stood there before is kept beside it."""
    path = os.path.realpath(path)
    before = _contents(path)
    if before == data:
        return f"{path}: unchanged"
    folder, name = os.path.split(path)
    descriptor, new = tempfile.mkstemp(prefix=f".{name}.", suffix=".new", dir=folder)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o644 if before is None else os.stat(path).st_mode & 0o777)
            os.fsync(file.fileno())
        kept = "" if before is None else f"; before it was what {_backed_up(path, before)} is"
        os.replace(new, path)
    except BaseException:
        os.unlink(new)
        raise
    _settle(folder)
    return f"{path}: written{kept}"


def _contents(path: str) -> "bytes | None":
    """What stands there; None for nothing, K3netError for what is no configuration."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise K3netError(f"{path}: not a file")
        data = file.read(_LONGEST + 1)
    if len(data) > _LONGEST:
        raise K3netError(f"{path}: what stands there is longer than 1 MiB, and no CNI configuration")
    return data


def _backed_up(path: str, data: bytes) -> str:
    """The first name beside `path` that is free, or that has this content already; it holds `data` then."""
    for number in range(_MOST_BACKUPS):
        backup = f"{path}.bak{number or ''}"
        try:
            with open(backup, "xb") as file:
                os.fchmod(file.fileno(), os.stat(path).st_mode & 0o777)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            return backup
        except FileExistsError:
            with suppress(K3netError):  # what is none of ours is not looked into
                if _contents(backup) == data:
                    return backup
    raise K3netError(f"{path}: there are {_MOST_BACKUPS} backups beside it; remove some")


def _settle(folder: str) -> None:
    """Make the new name last over a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _pod_cidrs(args: argparse.Namespace) -> "tuple[Net, ...]":
    """The answer of `k3net pod-cidr`; for a hash of this machine's name the one that the daemon holds, if it runs."""
    answer = find(asked(args, os.environ))
    if answer.exact:
        return answer.cidrs
    here = args.root == "/" and args.node_name is None
    held = _held(Client.of(args, deadline=_DEADLINE), answer.node) if here else ()
    if held:
        return held
    why = "the daemon was not asked" if not here else "the daemon does not say which one this node holds"
    print(f"k3net: {', '.join(map(str, answer.cidrs))} {MAY_BE_INACCURATE} ({why})", file=sys.stderr)
    return answer.cidrs


def _held(client: Client, node: str) -> "tuple[Net, ...]":
    """The pod CIDRs that the local daemon says its node holds; () when it says none."""
    try:
        answer = client.get(f"/api/v1/nodes/{node}", limit=_LIMIT)
        cidrs = object_at(answer, "spec").get("podCIDRs")
        return networks(",".join(cidrs)) if isinstance(cidrs, list) else ()
    except (K3netError, ValueError, TypeError):
        return ()
