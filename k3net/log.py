"""The one home of txaio: loggers for every room, and the observers that write what they say."""

import json
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
    textFileLogObserver,
)
from twisted.python.logfile import LogFile
from zope.interface import implementer

from k3net.model import rfc3339

txaio.use_twisted()

make_logger = txaio.make_logger  # type: ignore[attr-defined]

_LEVELS = {"trace": "debug"}
_ROTATE_AT = 32 * 2**20
_KEPT = 4


def set_level(level: str) -> None:
    """From `trace`, `debug`, `info`, `warn`, `error`: what is said from now on."""
    txaio.set_global_log_level(level)  # type: ignore[attr-defined]


def observer(level: str, form: str, path: str) -> Any:
    """An ILogObserver that writes `text` or `json` lines to the file `path` (rotated), or to standard output for ""."""
    file: Any = LogFile.fromFullPath(path, rotateLength=_ROTATE_AT, maxRotatedFiles=_KEPT) if path else sys.stdout
    writer = JSONLines(file) if form == "json" else textFileLogObserver(file)
    lowest = LogLevelFilterPredicate(LogLevel.lookupByName(_LEVELS.get(level, level)))
    lowest.setLogLevelForNamespace("twisted.web.client", LogLevel.warn)  # two lines for each request otherwise
    return FilteringLogObserver(writer, [lowest])  # type: ignore[arg-type, list-item]


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
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()
