"""YAML that means what it says: no aliases, no tags, no key twice, and the plain scalars of YAML 1.2's core schema."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from k3net.errors import ConfigError

LONGEST = 1 << 20
DEEPEST = 20

_NULL = re.compile(r"null|Null|NULL|~|")
_TRUTH = re.compile(r"true|True|TRUE|(false|False|FALSE)")
_INT = re.compile(r"[-+]?[0-9]{1,100}|(0o[0-7]{1,100})|(0x[0-9a-fA-F]{1,100})")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?(?:\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN"
)


def read_yaml(data: bytes, origin: str) -> Any:
    """The one document in `data`, or None when it is empty; ConfigError names `origin` and the line."""
    return next(iter(read_documents(data, origin, most=1)), None)


def read_documents(data: bytes, origin: str, *, most: int = 100) -> list[Any]:
    """Every document in `data`, such as kubeadm's file has several; ConfigError as `read_yaml`, also for too many."""
    if len(data) > LONGEST:
        raise ConfigError("", f"longer than {LONGEST >> 20} MiB", origin)
    try:
        source = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError("", f"line {_line(data[: error.start])}: not UTF-8", origin) from None
    try:
        return _documents(most, yaml.parse(source, Loader=yaml.SafeLoader))
    except _Refused as error:
        raise ConfigError("", str(error), origin) from None
    except yaml.MarkedYAMLError as error:
        reason = _one_line(error.problem or error.context or "not YAML")
        raise ConfigError("", f"{_at(error.problem_mark)}{reason}", origin) from None
    except yaml.reader.ReaderError as error:
        where = f"line {_line(source[: error.position].encode('utf-8', 'replace'))}"
        raise ConfigError("", f"{where}: a character that YAML does not allow", origin) from None
    except (ValueError, OverflowError):
        raise ConfigError("", "not YAML: a number in it is out of range", origin) from None


def plain_scalar(text: str) -> Any:
    """What a scalar without quotes means: None, bool, int, float or the text (YAML 1.2.2 section 10.3.2)."""
    if _NULL.fullmatch(text):
        return None
    if form := _TRUTH.fullmatch(text):
        return form[1] is None
    if form := _INT.fullmatch(text):
        return int(text[2:], 8) if form[1] else int(text[2:], 16) if form[2] else int(text)
    if _FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


class _Refused(Exception):
    def __init__(self, event: yaml.Event, reason: str):
        super().__init__(f"{_at(event.start_mark)}{reason}")


def _documents(most: int, events: Iterator[yaml.Event]) -> list[Any]:
    documents: list[Any] = []
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            if len(documents) == most:
                raise _Refused(event, "a second document; one is enough" if most == 1 else "too many documents")
            documents.append(_value(next(events), events, 0))
    return documents


def _value(event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Any:
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
        raise _Refused(event, "anchors and aliases are not read; write the value out")
    if getattr(event, "tag", None) not in (None, "!"):
        raise _Refused(event, "tags are not read; write the value without one")
    if isinstance(event, yaml.ScalarEvent):
        return plain_scalar(event.value) if event.implicit[0] else event.value
    if depth >= DEEPEST:
        raise _Refused(event, f"nested deeper than {DEEPEST} levels")
    if isinstance(event, yaml.SequenceStartEvent):
        items = []
        while not isinstance(item := next(events), yaml.SequenceEndEvent):
            items.append(_value(item, events, depth + 1))
        return items
    mapping: dict[str, Any] = {}
    while not isinstance(key_event := next(events), yaml.MappingEndEvent):
        key = _value(key_event, events, depth + 1)
        if not isinstance(key, str):
            raise _Refused(key_event, "a key is a text; put it in quotes")
        if key in mapping:
            raise _Refused(key_event, f"duplicate key {_one_line(key)!r}")
        mapping[key] = _value(next(events), events, depth + 1)
    return mapping


def _at(mark: Any) -> str:
    return f"line {mark.line + 1}: " if mark is not None else ""


def _line(before: bytes) -> int:
    return before.count(b"\n") + 1


def _one_line(text: str) -> str:
    return " ".join(text.split())[:100]
