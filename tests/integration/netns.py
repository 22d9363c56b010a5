"""Network namespaces named after the process that made them, so that those of a dead run can be found and removed."""

import ctypes
import os
import re
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
FOLDER = Path("/run/netns")
CLONE_NEWNET = 0x40000000
PREFIX = f"k3t{os.getpid()}-"


def ip(*arguments: str) -> None:
    """Runs ip(8); a failure is an AssertionError that shows the command and what it said."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr.strip()}"


def create(name: str) -> str:
    """Makes a namespace whose links are usable at once (no duplicate address detection); returns its full name."""
    namespace = PREFIX + name
    ip("netns", "add", namespace)
    ip("-n", namespace, "link", "set", "lo", "up")
    inside(namespace, set_sysctls)
    return namespace


def set_sysctls() -> None:
    settings = Path("/proc/sys/net")
    for group in ("all", "default"):
        (settings / f"ipv6/conf/{group}/accept_dad").write_text("0")
        (settings / f"ipv6/conf/{group}/dad_transmits").write_text("0")
        (settings / f"ipv4/conf/{group}/promote_secondaries").write_text("1")


def inside(namespace: str, f: Callable[[], T]) -> T:
    """The result of `f()`, called in a thread of its own that lives in `namespace`; sockets made there stay there."""

    def call() -> T:
        libc = ctypes.CDLL(None, use_errno=True)
        with (FOLDER / namespace).open() as file:
            if libc.setns(file.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"setns {namespace}")
        return f()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(call).result()


def delete(namespace: str) -> None:
    """Removes a namespace and every process that is still in it."""
    pids = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True).stdout.split()
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    ip("netns", "del", namespace)


def sweep() -> list[str]:
    """Removes the namespaces of test runs that are gone; returns their names."""
    names = [path.name for path in FOLDER.iterdir()] if FOLDER.is_dir() else []
    leftovers = [name for name in names if (match := re.match(r"k3t(\d+)-", name)) and not alive(int(match[1]))]
    for name in leftovers:
        with suppress(AssertionError):  # another run sweeps at the same time
            delete(name)
    return leftovers


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
