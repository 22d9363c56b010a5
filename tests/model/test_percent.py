"""Shares as percent."""

import pytest

from k3net.model.percent import rounded_percent


@pytest.mark.parametrize(
    ("share", "digits", "shown"),
    [(0, 0, 0), (1, 0, 100), (0.004, 0, 1), (0.996, 0, 99), (1e-12, 2, 0.01), (1 - 1e-12, 2, 99.99), (2 / 3, 2, 66.67)],
)
def test_only_all_is_a_hundred_and_only_nothing_is_zero(share: float, digits: int, shown: float) -> None:
    assert rounded_percent(share, digits) == shown
