import subprocess
import sys
from types import SimpleNamespace

import pytest

from k3net.errors import ConfigError
from k3net.store import DRIVERS, opener


def settings(kind, path=""):
    return SimpleNamespace(type=kind, sqlite=SimpleNamespace(path=path))


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_driver_is_opened_by_its_name(kind, tmp_path):
    store = opener(settings(kind, str(tmp_path / "k3net.db")))()
    assert type(store).__name__.lower() == f"{kind}store"
    assert store.list() == []
    store.close()


def test_nothing_is_touched_before_the_driver_is_opened(tmp_path):
    opener(settings("sqlite", str(tmp_path / "var" / "k3net.db")))
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_type_is_an_error_that_names_the_setting():
    with pytest.raises(ConfigError, match=rf"storage\.type: expected one of {', '.join(DRIVERS)}, not 'paper'"):
        opener(settings("paper"))


def test_no_driver_is_imported_before_it_is_opened():
    code = "import sys, k3net.store; print(*(m for m in sys.modules if m.startswith('k3net.store.') or m == 'sqlite3'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["k3net.store.interface"]
