"""The durations in reports, remembered by how they were told, for they repeat."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

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

    def learn(self, told: "Iterable[str]") -> None:
        """Know these from now on; ValueError for one that is none."""
        new = set(told)
        if len(self.seconds) + len(new) > _MOST:
            self._clear()
        for text in new.difference(self.seconds):
            seconds = read_duration(text)
            self.seconds[text] = seconds
            self.bucket[text] = bisect_left(LAN_BUCKETS, seconds)

    def in_texts(self, results: Sequence[PairResult]) -> "list[PairResult]":
        """The same, all durations as texts that are known from now on; BadResult for one that is none."""
        texts = [
            replace(
                result,
                test_duration=self._text(result.test_duration, f"$.results[{at}].test_duration"),
                latency=self._text(result.latency, f"$.results[{at}].latency"),
            )
            for at, result in enumerate(results)
        ]
        self.learn([text for result in texts for text in (result.test_duration, result.latency)])  # type: ignore[misc]
        return texts

    def _text(self, raw: "str | int", field: str) -> str:
        if isinstance(raw, str) and raw in self.seconds:
            return raw
        try:
            return in_text(raw)
        except ValueError as error:
            raise BadResult(str(error), field) from None


def in_text(raw: "str | int") -> str:
    """A duration as it is shown; ValueError for what is none."""
    seconds = read_duration(raw)
    return raw if isinstance(raw, str) else print_duration(seconds)
