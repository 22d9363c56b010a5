import subprocess
import sys
from types import SimpleNamespace

import pytest

from k3net.config.settings import EtcdSettings, StorageSettings, StoreType
from k3net.errors import StoreUnavailable
from k3net.store import deadline, opener


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


@pytest.mark.parametrize("kind", StoreType.schema["enum"])
def test_every_type_that_can_be_set_has_a_driver(kind):
    code = f"import importlib; assert callable(importlib.import_module('k3net.store.{kind}').opened)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("kind", "dial_timeout", "seconds"), [("etcd", 5, 10), ("etcd", 20, 40), ("sqlite", 20, 10)])
def test_a_call_has_the_time_that_its_driver_takes(kind, dial_timeout, seconds):
    assert deadline(StorageSettings(type=StoreType(kind), etcd=EtcdSettings(dial_timeout=dial_timeout))) == seconds


def test_a_driver_whose_library_is_missing_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "k3net.store.mysql", None)
    with pytest.raises(StoreUnavailable, match=r"^mysql store: its library cannot be used: "):
        opener(settings("mysql"))()


def test_no_driver_is_imported_before_it_is_opened():
    code = "import sys, k3net.store; print(*(m for m in sys.modules if m.startswith('k3net.store.') or m == 'sqlite3'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["k3net.store.interface"]
