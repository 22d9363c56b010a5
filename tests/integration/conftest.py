"""Everything here needs root and network namespaces; what else it needs, each test says with `requires`."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.lab import Lab

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.integration)
            item.add_marker(pytest.mark.requires("root", "netns"))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A fresh `Lab`; the ends of its processes' logs are shown beneath a test that fails."""
    with Lab(tmp_path) as lab:
        yield lab
        lab.print_logs()
