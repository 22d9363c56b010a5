"""`make bench`: the figures, each beside its reference.

    benchmarks/run.py [--json FILE] [NAME...]

Each benchmark is a program of its own beside this file; by name, or all of them. What a machine lacks (root, nmap) is
skipped and said. The exit status tells whether every benchmark ran, not whether its figures are as wanted.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from figure import MISSING, spread

NAMES = (
    "connects",
    "rounds",
    "passes",
    "packets",
    "idle",
    "flood",
    "scale",
    "consul",
    "checker_server",
    "checker_agents",
    "agent_round",
    "checker_restart",
    "verdicts",
    "pings",
    "export",
    "cluster_store",
    "cluster_pages",
    "broadcast",
    "usable",
    "pod_cidr",
)
LONGEST = 180
HERE = Path(__file__).parent


def run(name: str) -> list[dict[str, Any]]:
    """The figures that one benchmark tells; RuntimeError when it breaks."""
    done = subprocess.run(
        [sys.executable, str(HERE / f"{name}.py")], stdout=subprocess.PIPE, text=True, timeout=LONGEST, cwd=HERE
    )
    if done.returncode == MISSING:
        return []
    told = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode or not told:
        raise RuntimeError(f"exit status {done.returncode}, {len(told)} figures")
    return told


def row(figure: dict[str, Any]) -> tuple[str, ...]:
    def amount(values: list[float]) -> str:
        return spread(values) + (figure["unit"] if figure["unit"] in ("/s", "%") else f" {figure['unit']}").rstrip()

    beside = "; ".join(f"{name} {amount(values)}" for name, values in figure["references"].items())
    verdict = {True: "yes", False: "NO", None: ""}[figure["met"]]
    return figure["name"], amount(figure["measured"]), figure["wanted"], verdict, beside or figure["note"]


def table(figures: list[dict[str, Any]]) -> str:
    rows = [("figure", "measured (min..max)", "wanted", "met", "beside it"), *map(row, figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(r, widths, strict=True)).rstrip() for r in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--json", metavar="FILE", help="write the figures there too, with every run's value")
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - set(NAMES):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    figures, broken, busy = [], [], list[float]()
    for name in chosen.names or NAMES:
        begun = time.monotonic()
        busy.append(os.getloadavg()[0])
        print(f"{name} ...", end="", file=sys.stderr, flush=True)
        try:
            figures += run(name)
        except (RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
            broken.append(name)
            print(f" broke: {error}", file=sys.stderr)
        else:
            print(f" {time.monotonic() - begun:.0f} s", file=sys.stderr)
    machine = f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{table(figures)}\n{machine}; load when it began {busy[0]:.1f}")
    if chosen.json:
        told = {"machine": machine, "load": busy, "figures": figures}
        Path(chosen.json).write_text(json.dumps(told, indent=1) + "\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
