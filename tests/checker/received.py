"""What the server reads of what an agent sends."""

from collections.abc import Sequence

import msgspec

from k3net.checker.wire import ConnectivityResult, Report, SentReport


def received(source: str, results: Sequence[ConnectivityResult]) -> Report:
    return msgspec.json.decode(msgspec.json.encode(SentReport(source, list(results))), type=Report)
