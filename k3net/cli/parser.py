"""A command's options, and how what is wrong with them is said."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from k3net.cli.text import escaped


class Parser(argparse.ArgumentParser):
    """As argparse has it; with `brief` all that is wrong is one line, without the usage above it."""

    def __init__(self, *args: Any, brief: bool = False, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._brief = brief

    def parse_known_args(  # type: ignore[override]
        self, args: "Sequence[str] | None" = None, namespace: Any = None
    ) -> Any:
        found, rest = super().parse_known_args(args, namespace)
        if self._brief and rest:  # which else the parser above complains of, in its own way
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return found, rest

    def error(self, message: str) -> NoReturn:
        if self._brief:
            self.exit(2, f"{self.prog}: {escaped(message)}\n")
        super().error(message)
