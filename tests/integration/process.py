"""A program that runs beside the test, with its log in a file."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class Process:
    """Started at once; `stop()` is SIGTERM, `kill()` SIGKILL, both wait for the end."""

    def __init__(self, argv: Sequence[str], *, log: Path, env: Mapping[str, str], cwd: Path):
        self.log = log
        with log.open("ab") as out:
            self._popen = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, cwd=cwd, start_new_session=True
            )
        self.pid = self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def signal(self, number: int) -> None:
        self._popen.send_signal(number)

    def stop(self, timeout: float = 10.0) -> int:
        """Its exit status; an AssertionError (and SIGKILL) when it has not ended after `timeout` seconds."""
        self.signal(signal.SIGTERM)
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.log.name}: still running {timeout} s after SIGTERM") from None

    def kill(self) -> int:
        self._popen.kill()
        return self._popen.wait(10)

    def output(self) -> str:
        return self.log.read_text(errors="backslashreplace")

    def rss(self) -> int:
        """Resident memory in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))

    def cpu_seconds(self) -> float:
        """Processor time used so far, user and system: proc(5)."""
        after_name = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")
