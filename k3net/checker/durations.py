"""The durations in reports, remembered by how they were told, for they repeat."""

from bisect import bisect_left
from collections.abc import Sequence

from msgspec.structs import replace

from k3net.checker.wire import BadResult, PairResult, print_duration, read_duration

LAN_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_MOST = 1 << 16


class Durations:
    """Of texts that are known: `seconds`, and the `bucket` of LAN_BUCKETS that they are in."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.seconds: dict[str | int, float] = {"": 0.0}
        self.bucket: dict[str | int, int] = {"": 0}

    def in_texts(self, results: Sequence[PairResult]) -> "list[PairResult]":
        """The same, all durations as texts that are known from now on; BadResult for one that is none."""
        if len(self.seconds) + 2 * len(results) > _MOST:
            self._clear()
        return [
            replace(
                result,
                test_duration=self._known(result.test_duration, f"$.results[{at}].test_duration"),
                latency=self._known(result.latency, f"$.results[{at}].latency"),
            )
            for at, result in enumerate(results)
        ]

    def _known(self, raw: "str | int", field: str) -> str:
        if isinstance(raw, str) and raw in self.seconds:
            return raw
        try:
            text = in_text(raw)
        except ValueError as error:
            raise BadResult(str(error), field) from None
        self.seconds[text] = seconds = read_duration(text)
        self.bucket[text] = bisect_left(LAN_BUCKETS, seconds)
        return text


def in_text(raw: "str | int") -> str:
    """A duration as it is shown; ValueError for what is none."""
    seconds = read_duration(raw)
    return raw if isinstance(raw, str) else print_duration(seconds)
