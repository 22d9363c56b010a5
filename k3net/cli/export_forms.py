"""The forms of an export: json, yaml, cmd and table, of the whole and of one change."""

import json
from typing import Any

from k3net.cli.table import Column, Row, Table
from k3net.cli.text import escaped, json_text, yaml_text
from k3net.export.devices import Device
from k3net.export.report import Report

_STATE_STYLES = {"reachable": "green", "permanent": "green", "stale": "yellow", "delay": "yellow", "probe": "yellow"}


def _state_style(state: str) -> str:
    return _STATE_STYLES.get(state, "")


def _note_style(note: str) -> str:
    return "red" if note != "-" else ""


COLUMNS = (
    Column("IP"),
    Column("NAME", elastic=True),
    Column("MAC"),
    Column("STATE", _state_style),
    Column("INTERFACE"),
    Column("VENDOR", elastic=True),
    Column("NOTE", _note_style),
)


def write_report(report: Report, form: str) -> None:
    """Print the whole of it."""
    if form == "json":
        print(json_text(report.as_json()))
    elif form == "yaml":
        print(yaml_text(report.as_json()))
    elif form == "cmd":
        print("".join(f"{line(device)}\n" for device in report.devices), end="")
    else:
        Table(COLUMNS).write([row(device) for device in report.devices])


def line(device: Device) -> str:
    """`ip name mac`: `-` for what is empty, in quotes what has blanks in it, control characters as escapes."""
    return " ".join(map(_word, (device.ip, device.name, device.neighbor.mac)))


def _word(text: str) -> str:
    shown = escaped(text)
    if " " in shown or shown.startswith('"'):
        shown = shown.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{shown}"'
    return shown or "-"


def row(device: Device) -> Row:
    note = "duplicate" if device.duplicate else "-"
    neighbor = device.neighbor
    shown = (device.ip, device.name, neighbor.mac, neighbor.state, neighbor.interface, device.vendor or "-", note)
    return tuple(map(escaped, shown))


class Changes:
    """Prints changes as they come: `json` a line each, `yaml` a document each, `cmd` and `table` a line each."""

    def __init__(self, form: str):
        self._form = form
        self._table = Table((Column("EVENT", _event_style), *COLUMNS))

    def write(self, changes: "list[tuple[str, Device]]") -> None:
        """`changes` are (added, changed or removed, device)."""
        if self._form == "table":
            self._table.write([(event, *row(device)) for event, device in changes])
        for event, device in changes:
            if self._form == "json":
                print(_json_line({"event": event, **device.as_json()}))
            elif self._form == "yaml":
                print(f"---\n{yaml_text({'event': event, **device.as_json()})}")
            elif self._form == "cmd":
                print(event, line(device))
        print(end="", flush=True)


def _event_style(event: str) -> str:
    return {"added": "green", "removed": "red"}.get(event, "")


def _json_line(value: Any) -> str:
    return json.dumps(value).replace("\x7f", "\\u007f")
