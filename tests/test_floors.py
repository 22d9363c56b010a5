"""DESIGN section 3, enforced: who may import whom. Reads every import in the tree, also those inside functions."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOOR_OF_ROOM = {
    **dict.fromkeys(["", "errors", "model"], 0),
    **dict.fromkeys(
        ["log", "services", "config", "metrics", "host", "neighbors", "pod_cidr", "http", "sd_notify", "credentials"], 1
    ),
    **dict.fromkeys(["probes", "store"], 1),
    **dict.fromkeys(["discovery", "reconciler", "checker", "clusters", "export"], 2),
    "web": 3,
    **dict.fromkeys(
        [
            "tap",
            "export_tap",
            "cli",
            "daemon",
            "parts",
            "status",
            "wiring",
        ],
        4,
    ),
}
FREE_TO_ALL = {"log", "services", "http"}
MAY_HAVE_THE_REACTOR = {"tap", "export_tap", "cli"}
IMPURE = {"asyncio", "http", "logging", "random", "select", "socket", "sqlite3", "subprocess", "threading", "time"}
PLUGIN_MAY_IMPORT = "twisted.application.service.ServiceMaker"


def room_of(module: str) -> str:
    """`k3net.store.sqlite` is in the room `store`, `k3net` itself in the room ``."""
    return module.split(".")[1] if "." in module else ""


def imports(tree: ast.Module, package: str) -> Iterator[tuple[int, str]]:
    """The line and the full dotted name of everything imported, `from a import b` as `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{origin}.{alias.name}"


def breach(module: str, imported: str) -> str:
    """The rule that `module` breaks by importing `imported`; empty when it breaks none."""
    here, floor = room_of(module), FLOOR_OF_ROOM[room_of(module)]
    top = imported.split(".")[0]
    if imported.startswith("twisted.internet.reactor") and here not in MAY_HAVE_THE_REACTOR:
        return "imports the global reactor"
    if floor == 0 and top != "k3net" and top not in sys.stdlib_module_names:
        return f"floor 0 imports {imported}, which is not the standard library"
    if here == "model" and top in IMPURE:
        return f"model is pure but imports {imported}"
    if top != "k3net":
        return ""
    there = room_of(imported)
    if there not in FLOOR_OF_ROOM:  # a name of k3net/__init__.py, e.g. __version__
        there = ""
    if there == here:
        return ""
    if here == "model" and there != "errors":
        return f"model imports {imported}"
    if FLOOR_OF_ROOM[there] > floor:
        return f"floor {floor} imports {imported} of floor {FLOOR_OF_ROOM[there]}"
    if FLOOR_OF_ROOM[there] == floor and floor in (1, 2, 3) and there not in FREE_TO_ALL:
        return f"imports its sibling {imported}"
    return ""


def breaches(root: Path) -> list[str]:
    """Every breach below `root`, as `path:line: rule`; empty when the house stands."""
    found = []
    for path in sorted((root / "k3net").rglob("*.py")):
        where = path.relative_to(root)
        package = ".".join(where.parent.parts)
        module = package if where.stem == "__init__" else f"{package}.{where.stem}"
        if room_of(module) not in FLOOR_OF_ROOM:
            found.append(f"{where}: is on no floor")
            continue
        for line, imported in imports(ast.parse(path.read_text()), package):
            if rule := breach(module, imported):
                found.append(f"{where}:{line}: {rule}")
    for path in sorted((root / "twisted").rglob("*.py")):
        where = path.relative_to(root)
        if path.stem == "__init__":
            found.append(f"{where}: makes twisted.plugins a package of ours, which hides Twisted's own")
        for line, imported in imports(ast.parse(path.read_text()), ""):
            if imported != PLUGIN_MAY_IMPORT:
                found.append(f"{where}:{line}: a plugin file imports {imported}")
    return found


def test_every_import_goes_down():
    assert (ROOT / "k3net/errors.py").exists()
    assert breaches(ROOT) == []


@pytest.mark.parametrize(
    ("path", "source", "rule"),
    [
        ("k3net/model/node.py", "import attr", "not the standard library"),
        ("k3net/model/node.py", "from k3net import log", "model imports k3net.log"),
        ("k3net/model/node.py", "def f():\n    from time import time", "model is pure but imports time.time"),
        ("k3net/errors.py", "from k3net.model import node", None),
        ("k3net/errors.py", "from zope import interface", "not the standard library"),
        ("k3net/host.py", "from k3net.config import load", "imports its sibling k3net.config.load"),
        ("k3net/host.py", "from .config import load", "imports its sibling k3net.config.load"),
        ("k3net/store/sqlite.py", "from .. import metrics", "imports its sibling k3net.metrics"),
        ("k3net/store/sqlite.py", "from .interface import IStore\nfrom k3net.log import make_logger", None),
        ("k3net/store/__init__.py", "from .interface import IStore", None),
        ("k3net/store/memory.py", "from k3net.reconciler import Reconciler", "floor 1 imports"),
        ("k3net/discovery/mdns.py", "from k3net.discovery.own_node import OwnNode", None),
        ("k3net/discovery/mdns.py", "def f():\n    from k3net.web.api import Api", "mdns.py:2: floor 2 imports"),
        ("k3net/discovery/mdns.py", "if TYPE_CHECKING:\n    import k3net.reconciler", "imports its sibling"),
        ("k3net/reconciler/loop.py", "import k3net.checker.agent as agent", "imports its sibling k3net.checker"),
        ("k3net/web/api.py", "from twisted.internet import defer, reactor", "imports the global reactor"),
        ("k3net/wiring/core.py", "from twisted.internet import reactor", "imports the global reactor"),
        ("k3net/web/api.py", "import twisted.internet.reactor", "imports the global reactor"),
        ("k3net/web/api.py", "from k3net.tap import Options", "floor 3 imports k3net.tap.Options of floor 4"),
        ("k3net/web/api.py", "from k3net import __version__", None),
        ("k3net/tap.py", "from twisted.internet import reactor\nfrom k3net.cli import main", None),
        ("k3net/helpers.py", "", "k3net/helpers.py: is on no floor"),
        ("twisted/plugins/k3net_plugin.py", "from k3net.tap import Options", "a plugin file imports"),
        ("twisted/plugins/k3net_plugin.py", "from twisted.application.service import ServiceMaker", None),
        ("twisted/plugins/__init__.py", "", "hides Twisted's own"),
    ],
)
def test_a_planted_breach_is_found_and_what_is_allowed_is_not(tmp_path, path, source, rule):
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(source)
    found = breaches(tmp_path)
    if rule is None:
        assert found == []
    else:
        assert len(found) == 1
        assert rule in found[0]
