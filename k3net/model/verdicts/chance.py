"""How much failure is more than chance."""

from math import lgamma, log

NOISE = 0.01
"""The share of results that may be wrong without a verdict."""

BROKEN = 0.75
"""The share of its tests from which something is broken rather than shaky."""

LOSSY = 0.05
"""The share that is too much where no cause is found for it, and of the packets of a link."""

_RISK = 0.001


def mostly(tests: int, failed: int) -> bool:
    """Whether there are tests, and most of them fail."""
    return tests > 0 and failed >= BROKEN * tests


def broken(tests: int, failed: int, chances: int, rate: float = NOISE) -> bool:
    """Whether most of the tests fail, and a failure rate of `rate` seldom does so to one of `chances` such."""
    return mostly(tests, failed) and log(chances) + _ways(tests, failed) + failed * log(rate) <= log(_RISK)


def beyond(tests: int, failed: int, rate: float, chances: int) -> bool:
    """Whether a failure rate of `rate` (above 0) seldom fails so many tests, in none of `chances` such."""
    ratio = (tests - failed) * rate / ((failed + 1) * (1 - rate))  # of the chances of one failure more, and less beyond
    if failed <= rate * tests or ratio >= 1:
        return False
    exactly = _ways(tests, failed) + failed * log(rate) + (tests - failed) * log(1 - rate)
    return exactly - log(1 - ratio) <= log(_RISK / chances)


def _ways(tests: int, failed: int) -> float:
    """The logarithm of the binomial coefficient."""
    return lgamma(tests + 1) - lgamma(failed + 1) - lgamma(tests - failed + 1)
