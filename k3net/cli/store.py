"""`k3net store`: looks at the configured store by itself, without a daemon."""

import argparse
import os
import sys
from typing import Any

from k3net.cli.client import within
from k3net.cli.text import escaped
from k3net.config.load import config_path, load
from k3net.config.settings import StorageSettings
from k3net.errors import StoreUnavailable
from k3net.model.node import Node
from k3net.store import opener
from k3net.store.interface import Listing, OpenDriver

DEADLINE = 30.0


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("store", help="check the configured store", allow_abbrev=False)
    actions = parser.add_subparsers(metavar="ACTION", required=True, title="actions")
    check = actions.add_parser(
        "check",
        help="say whether the store can be used; exit code 1 if not",
        description="Connect to the store that the configuration names, see whether it can be read and written, and "
        "say in one line what is wrong and what to do. Needs no daemon, and changes no record.",
        allow_abbrev=False,
    )
    check.add_argument("--config", metavar="FILE", help="the configuration file (CONFIG_PATH; default none)")
    check.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print one line about the store; ConfigError, and StoreUnavailable when it cannot be used."""
    loaded = load(config_path(args.config, os.environ), os.environ, {})
    for warning in loaded.warnings:
        print(f"k3net: {escaped(warning)}", file=sys.stderr)
    storage = loaded.settings.storage
    print(escaped(checked(storage, opener(storage))))
    return 0


def checked(storage: StorageSettings, open_driver: OpenDriver, *, deadline: float = DEADLINE) -> str:
    """What there is in a store that can be used; StoreUnavailable says in one line what is wrong and what to do."""
    named = f"{storage.type} at {_place(storage)}"
    try:
        return within(deadline, lambda: f"ok: {_found(storage, open_driver(), named)}")
    except StoreUnavailable as error:
        raise StoreUnavailable(f"storage: {error}") from error
    except TimeoutError as error:
        raise StoreUnavailable(f"storage: {named}: no answer within {deadline:g} s; is it overloaded?") from error
    except ImportError as error:
        raise StoreUnavailable(f"storage: {named}: needs the package {error.name}; install it") from error
    except Exception as error:  # its text may hold what the settings keep secret
        raise StoreUnavailable(f"storage: {named}: the driver failed with {type(error).__name__}; report it") from error


def _found(storage: StorageSettings, driver: Any, named: str) -> str:
    try:
        wrong = driver.check()
        if wrong:
            raise StoreUnavailable(wrong)
        if storage.type == "memory":
            return "memory, each daemon for itself and until it ends"
        if storage.type == "sqlite" and not os.path.exists(storage.sqlite.path):
            return f"{named}, which is not there yet: the daemon makes it"
        found = driver.look()
        identity = f"id {found.identity}" if found.identity else "no id yet: the first daemon makes it"
        return f"{named}, {_count(found.listing)}, {identity}"
    finally:
        driver.close()


def _count(listing: Listing) -> str:
    managed = sum(isinstance(record, Node) and record.managed for record in listing)
    return f"{len(listing)} Node{'s' * (len(listing) != 1)} ({len(listing) - managed} not managed)"


def _place(storage: StorageSettings) -> str:
    if storage.type == "mysql":
        mysql = storage.mysql
        host = f"[{mysql.host}]" if ":" in mysql.host else mysql.host
        return f"{mysql.user}@{host}:{mysql.port}/{mysql.database}"
    if storage.type == "etcd":
        return ", ".join(storage.etcd.endpoints)
    return storage.sqlite.path
