"""What makes each kind of store for the contract suites: a store, its controller, and what opens another."""

import shutil
import tempfile
from typing import Any

from store.controllers import MemoryController, SqliteController
from store.turns import Blocking

from k3net.store.memory import MemoryStore, Shared
from k3net.store.sqlite import SqliteStore


def make_memory(case: Any) -> tuple[Any, ...]:
    shared = Shared()
    return opened(case, lambda: MemoryStore(shared), MemoryController(shared))


def make_sqlite(case: Any) -> tuple[Any, ...]:
    directory = tempfile.mkdtemp()
    case.addCleanup(shutil.rmtree, directory)
    path = f"{directory}/k3net.db"
    return opened(case, lambda: SqliteStore(path), SqliteController(path))


def make_threaded_memory(case: Any) -> tuple[Any, ...]:
    shared = Shared()
    return opened(case, lambda: Blocking(lambda: MemoryStore(shared)), MemoryController(shared))


def make_threaded_sqlite(case: Any) -> tuple[Any, ...]:
    directory = tempfile.mkdtemp()
    case.addCleanup(shutil.rmtree, directory)
    path = f"{directory}/k3net.db"
    return opened(case, lambda: Blocking(lambda: SqliteStore(path)), SqliteController(path))


def opened(case: Any, open_store: Any, controller: Any) -> tuple[Any, ...]:
    def another() -> Any:
        store = open_store()
        case.addCleanup(store.close)
        return store

    case.addCleanup(controller.close)
    return another(), controller, another
