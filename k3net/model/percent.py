"""Shares as percent, rounded so that nothing looks like all or nothing that is not."""


def rounded_percent(share: float, digits: int = 0) -> float:
    """A share from 0 to 1 in percent: 0 and 100 are exactly that, what is next to them is shown as one step off."""
    least = 10.0**-digits
    rounded = round(100 * share, digits)
    return min(max(rounded, least), 100 - least) if 0 < share < 1 else rounded
