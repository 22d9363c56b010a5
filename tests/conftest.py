"""What every test may rely on: hypothesis profiles, `requires`, one reactor for trial's and pytest-twisted's tests."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from k3net.log import set_level

hypothesis.settings.register_profile("dev", deadline=None, max_examples=50)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=200, derandomize=True, print_blob=True)
hypothesis.settings.register_profile("soak", deadline=None, max_examples=1500, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        'requires(*what): skipped, with the reason, where one of `what` ("root", "netns" or a command) is missing;'
        " failed there when REQUIRE_SERVERS is set",
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    wanted = [what for mark in item.iter_markers("requires") for what in mark.args]
    missing = [reason for what in dict.fromkeys(wanted) if (reason := reason_missing(what))]
    if missing and os.environ.get("REQUIRE_SERVERS"):
        pytest.fail("; ".join(missing) + " (and REQUIRE_SERVERS is set)", pytrace=False)
    if missing:
        pytest.skip("; ".join(missing))


def reason_missing(what: str) -> str:
    """Why `what` cannot be used here; empty when it can."""
    if what == "root":
        return "" if os.geteuid() == 0 else "needs root"
    if what == "netns":
        return reason_missing("ip") or ("" if may_make_namespaces() else "needs to make network namespaces")
    if what == "consul":
        import consul

        return consul.reason_missing()
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    return "" if shutil.which(what, path=path) else f"needs {what}"


def may_make_namespaces() -> bool:
    """CAP_SYS_ADMIN (bit 21) and CAP_NET_ADMIN (bit 12) are ours: capabilities(7)."""
    status = Path("/proc/self/status").read_text()
    effective = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(effective >> 21 & 1 and effective >> 12 & 1)


@pytest.fixture(autouse=True)
def usual_log_level() -> Iterator[None]:
    """A daemon sets the level of the whole process; the next test is to hear what its own code says."""
    yield
    set_level("info")


def wait_in_the_running_reactor(_case: TestCase, done: "Deferred[Any]") -> None:
    """Trial starts and crashes the reactor for each test, which pytest-twisted keeps running: wait in that one instead.

    The test goes on in a turn of its own: it may iterate the reactor, which a callback must not.
    """
    from twisted.internet import reactor

    ended: Deferred[None] = Deferred()
    done.addBoth(lambda _: reactor.callLater(0, ended.callback, None))
    pytest_twisted.blockon(ended)


TestCase._wait = wait_in_the_running_reactor
