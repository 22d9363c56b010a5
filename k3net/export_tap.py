"""`twistd k3net-export`: the neighbour export in the foreground, without `-n`, pid file or log."""

import sys
from itertools import pairwise
from typing import Any, NoReturn

from twisted.python.usage import Options as BaseOptions
from twisted.python.usage import UsageError

from k3net.cli.export_run import main
from k3net.export.request import HELP, is_truth

_NAME = "k3net-export"


class Options(BaseOptions):
    """The flags of spec/6-export.md; `words` are their texts."""

    synopsis = "[options]"
    longdesc = "Prints what the neighbour table (ARP, ND) has learnt of the machines beside this one; sends no probe."
    optParameters = [  # noqa: RUF012 - Twisted's way to say it
        [name, None, None, HELP[name]] for name in HELP if name != "cidr"
    ]

    def __init__(self) -> None:
        super().__init__()
        self._cidrs: list[str] = []

    def opt_cidr(self, text: str) -> None:
        self._cidrs.append(text)

    opt_cidr.__doc__ = HELP["cidr"]

    def parseOptions(self, options: Any = None) -> None:
        """One line on standard error and exit status 2 for words that are no options."""
        try:
            super().parseOptions(_go_style(list(sys.argv[1:] if options is None else options)))
        except UsageError as error:
            print(f"{_NAME}: {error}", file=sys.__stderr__)
            raise SystemExit(2) from None

    def postOptions(self) -> None:
        if self.parent is not None:
            self.parent["nodaemon"] = True
            self.parent["pidfile"] = ""  # neither left behind, nor another's heeded

    @property
    def words(self) -> dict[str, Any]:
        return {**self, "cidr": self._cidrs}


def _go_style(words: list[str]) -> list[str]:
    """`--resolve-dns` alone means true, as Go's flags have it."""
    return [
        "--resolve-dns=true" if word == "--resolve-dns" and not is_truth(after) else word
        for word, after in pairwise([*words, ""])
    ]


def makeService(options: Options) -> NoReturn:
    """Export and leave: nothing is left to be run."""
    raise SystemExit(main(options.words, _NAME))
