"""Draws docs/images/nodes.svg: what a user sees, from a real run in network namespaces. Needs root.

python docs/picture.py
"""

import os
import pty
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from integration.lab import Host, Lab, wait_for  # noqa: E402
from integration.test_lan import listening  # noqa: E402

CONFIG = {"liveness": {"peer_ttl": "6s", "probe_interval": "1s"}}
K3NET = str(Path(sys.executable).with_name("k3net"))


def typed(host: Host, *words: str) -> str:
    """What `k3net ...` prints on a terminal of this host."""
    ours, theirs = pty.openpty()
    said: list[bytes] = []

    def read() -> None:
        try:
            while data := os.read(ours, 4096):
                said.append(data)
        except OSError:
            pass  # the terminal is gone: the program has ended

    reader = threading.Thread(target=read)
    reader.start()
    argv = ["ip", "netns", "exec", host.namespace, "env", "TERM=xterm-256color", "COLUMNS=100", K3NET, *words]
    subprocess.run(argv, stdout=theirs, stderr=theirs, stdin=theirs, check=False)
    os.close(theirs)
    reader.join()
    return b"".join(said).decode().replace("\r\n", "\n")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Lab(Path(folder)) as lab:
        hosts = [lab.host(f"edge-{i}", ipv4=f"10.77.0.{10 + i}/24") for i in range(1, 4)]
        printer = lab.host("gateway", ipv4="10.77.0.1/24")
        with listening(printer):
            printer.avahi("gateway", txt={"node": "gateway", "port": 7946, "pid": 812})
            fleet = [host.k3net(CONFIG, node_name=host.name) for host in hosts]
            wait_for(lambda: len(fleet[0].nodes()) == 4, 15, "four Nodes")
            time.sleep(5)
            before = typed(hosts[0], "nodes")
            fleet[2].kill()
            wait_for(lambda: fleet[0].ready("edge-3") == ("False", "PeerExpired"), 12, "edge-3 NotReady")
            after = typed(hosts[0], "nodes")
            peers = typed(hosts[0], "peers")
    console = Console(record=True, width=100, file=open(os.devnull, "w"))
    shown = {"k3net nodes": before, "k3net nodes        # a while after kill -9 on edge-3": after, "k3net peers": peers}
    for words, text in shown.items():
        console.print(Text(f"$ {words}", style="bold"))
        console.print(Text.from_ansi(text))
    drawn = re.sub(r"@font-face \{.*?\}", "", console.export_svg(title="k3net", unique_id="k3net"), flags=re.DOTALL)
    (ROOT / "docs" / "images" / "nodes.svg").write_text(drawn)


if __name__ == "__main__":
    main()
