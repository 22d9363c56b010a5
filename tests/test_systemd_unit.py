"""etc/k3net.service as systemd itself reads it."""

import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).parent.parent / "etc/k3net.service"
TWISTD = "/opt/k3net/bin/twistd"


def settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def analyze(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.requires("systemd-analyze")
def test_its_exposure_is_two_of_ten_at_most():
    status, said = analyze("security", "--offline=yes", "--threshold=20", "--no-pager", str(UNIT))
    assert status == 0, said


@pytest.mark.requires("systemd-analyze")
def test_it_is_a_unit_without_errors(tmp_path):
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(TWISTD, str(Path(sys.executable).with_name("twistd"))))
    assert analyze("verify", "--man=no", str(unit)) == (0, "")
    unit.write_text(unit.read_text() + "\n[Service]\nNoSuchSetting=1\n")
    assert "NoSuchSetting" in analyze("verify", "--man=no", str(unit))[1]


def test_it_is_told_of_readiness_watched_and_reloaded():
    unit = settings()
    assert unit["Type"] == ["notify"]
    assert unit["NotifyAccess"] == ["main"]
    assert unit["WatchdogSec"] == ["30s"]
    assert unit["ExecReload"] == ["/bin/kill -HUP $MAINPID"]


def test_the_database_is_in_the_state_directory():
    unit = settings()
    assert unit["StateDirectory"] == ["k3net"]
    assert "K3NET_STORAGE_SQLITE_PATH=%S/k3net/k3net.db" in unit["Environment"]


def test_what_the_daemon_needs_is_not_taken_away():
    unit = settings()
    assert set(unit["RestrictAddressFamilies"][0].split()) == {"AF_INET", "AF_INET6", "AF_NETLINK", "AF_UNIX"}
    assert "MemoryDenyWriteExecute" not in unit
    assert "ProcSubset" not in unit
    assert "PrivateNetwork" not in unit
    assert "IPAddressDeny" not in unit
