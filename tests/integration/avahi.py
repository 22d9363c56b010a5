"""Avahi's own files: what its daemon is told to publish, and what avahi-browse prints."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

BUS = "unix:abstract=lab-bus"  # abstract: each network namespace has its own
BUS_CONFIG = f"""<busconfig>
  <type>system</type>
  <listen>{BUS}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
  </policy>
</busconfig>
"""
# The mounts are private to the process; $1 holds the services, $2 is the configuration.
START = """
mount -t tmpfs tmpfs /run && mkdir /run/avahi-daemon && mount --bind "$1" /etc/avahi/services &&
exec avahi-daemon --file "$2" --no-drop-root --no-chroot --no-rlimits --no-proc-title
"""


@dataclass(frozen=True)
class Found:
    """One line of avahi-browse; `host`, `address`, `port` and `txt` are empty when it could not be resolved."""

    name: str
    family: str
    host: str = ""
    address: str = ""
    port: int = 0
    txt: frozenset[str] = frozenset()


def daemon_config(host_name: str, *, dbus: bool) -> str:
    """avahi-daemon.conf(5)."""
    return f"""[server]
host-name={host_name}
use-ipv4=yes
use-ipv6=yes
enable-dbus={"yes" if dbus else "no"}
[wide-area]
enable-wide-area=no
[publish]
publish-hinfo=no
publish-workstation=no
disable-publishing={"yes" if dbus else "no"}
"""


def service_xml(name: str, service: str, port: int, txt: Mapping[str, object]) -> str:
    """avahi.service(5)."""
    records = "".join(f"<txt-record>{escape(f'{key}={value}')}</txt-record>" for key, value in txt.items())
    return (
        f"<service-group><name>{escape(name)}</name>"
        f"<service><type>{escape(service)}</type><port>{port}</port>{records}</service></service-group>"
    )


def start_command(folder: Path, services: list[str], config: str) -> list[str]:
    """Writes the files into `folder`; returns the command that starts the daemon with them."""
    (folder / "services").mkdir(parents=True)
    for number, xml in enumerate(services):
        (folder / "services" / f"{number}.service").write_text(xml)
    (folder / "avahi-daemon.conf").write_text(config)
    return ["sh", "-c", START, "sh", str(folder / "services"), str(folder / "avahi-daemon.conf")]


def parse_browse(text: str) -> list[Found]:
    """The lines of `avahi-browse --parsable --resolve`; one that was resolved replaces its bare mention."""
    found: dict[tuple[str, str], list[Found]] = {}
    for line in text.splitlines():
        sign, _, family, name, *rest = line.split(";", 9)
        key = family, unescape(name)
        if sign == "+":
            found.setdefault(key, [])
        elif sign == "=":
            _, _, host, address, port, txt = rest
            records = frozenset(re.findall(r'"((?:[^"\\]|\\.)*)"', txt))
            found.setdefault(key, []).append(Found(key[1], family, host, address, int(port), records))
    return [one for (family, name), resolved in found.items() for one in resolved or [Found(name, family)]]


def unescape(name: str) -> str:
    """`\\032` is a space: avahi writes what is not a letter or digit as three decimal digits."""
    return re.sub(r"\\(\d{3})", lambda match: chr(int(match[1])), name)
