"""The one home of txaio: loggers for every room, and the observers that write what they say."""

import json
import re
import sys
from typing import Any, TextIO

import txaio
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    eventAsText,
    formatEvent,
)
from twisted.python.logfile import LogFile
from zope.interface import implementer

from k3net.model import rfc3339

txaio.use_twisted()

make_logger = txaio.make_logger  # type: ignore[attr-defined]

_LEVELS = {"trace": "debug"}
_ROTATE_AT = 32 * 2**20
_KEPT = 4
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_lowest = LogLevelFilterPredicate()
_lowest.setLogLevelForNamespace("twisted.web.client", LogLevel.warn)  # two lines for each request otherwise


def set_level(level: str) -> None:
    """From `trace`, `debug`, `info`, `warn`, `error`: what is said from now on."""
    txaio.set_global_log_level(level)  # type: ignore[attr-defined]
    _lowest.setLogLevelForNamespace("", LogLevel.lookupByName(_LEVELS.get(level, level)))


def observer(level: str, form: str, path: str) -> Any:
    """An ILogObserver that writes `text` or `json` lines to the file `path` (rotated), or to standard output for "".

    `set_level` changes what it writes. OSError when the file cannot be written.
    """
    file: Any = LogFile.fromFullPath(path, rotateLength=_ROTATE_AT, maxRotatedFiles=_KEPT) if path else sys.stdout
    set_level(level)
    return FilteringLogObserver(JSONLines(file) if form == "json" else TextLines(file), [_lowest])  # type: ignore[arg-type, list-item]


@implementer(ILogObserver)
class TextLines:
    """One line an event, `time [logger#level] message`; a traceback follows, indented.

    What would begin a line, move the cursor or turn the writing is written as an escape, so that no text of another
    machine can pass for a line of the log.
    """

    def __init__(self, file: TextIO):
        self._file = file
        self._encoding = getattr(file, "encoding", None) or "utf-8"

    def __call__(self, event: LogEvent) -> None:
        lines = [eventAsText(event, includeTraceback=False)] if formatEvent(event) else []
        if event.get("log_failure") is not None:
            lines += event["log_failure"].getTraceback().splitlines()
        if lines:
            text = "\n\t".join(_UNPRINTABLE.sub(_escaped, line) for line in lines) + "\n"
            self._file.write(text.encode(self._encoding, "backslashreplace").decode(self._encoding))
            self._file.flush()


@implementer(ILogObserver)
class JSONLines:
    """One JSON object a line: `time` (RFC 3339), `level`, `logger`, `message`, and `traceback` where there is one."""

    def __init__(self, file: TextIO):
        self._file = file

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level")
        line = {
            "time": rfc3339.format_nanos(event.get("log_time", 0.0)),
            "level": level.name if level is not None else "info",
            "logger": event.get("log_namespace", ""),
            "message": formatEvent(event),
        }
        if event.get("log_failure") is not None:
            line["traceback"] = eventAsText(event, includeTimestamp=False, includeSystem=False)
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def _escaped(found: "re.Match[str]") -> str:
    return found[0].encode("unicode_escape").decode()
