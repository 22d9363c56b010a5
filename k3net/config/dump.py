"""Settings for people and programs to read: without secrets, durations as Go texts."""

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from k3net.config.kinds import Duration, Secret
from k3net.config.settings import Settings, is_section
from k3net.model.duration import format_duration

_PLAIN = re.compile(r"[a-z_/][a-z0-9_./-]*|([0-9]+(\.[0-9]+)?(ns|µs|ms|s|m|h))+", re.I)
_NOT_TEXT = {"true", "false", "yes", "no", "on", "off", "y", "n", "null"}


def public_dump(settings: Any) -> dict[str, Any]:
    """The settings as they stand in a file: durations such as `90s`, a password as `***`."""
    return {name: _public(getattr(settings, name)) for name in settings.__struct_fields__}


def _public(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return public_dump(value)
    if isinstance(value, tuple):
        return [_public(item) for item in value]
    if isinstance(value, Duration):
        return format_duration(value)
    if isinstance(value, Secret):
        return "***" if value else ""
    return str(value) if isinstance(value, str) else value


def yaml_text(settings: Settings, origins: Mapping[str, str]) -> str:
    """`public_dump` as YAML, each setting that is not a default with its origin as a comment."""
    return "".join(_lines(public_dump(settings), origins, ""))


def _lines(section: Mapping[str, Any], origins: Mapping[str, str], prefix: str) -> list[str]:
    indent = "  " * prefix.count(".")
    lines = []
    for name, value in section.items():
        path = prefix + name
        if isinstance(value, dict):
            lines += [f"{indent}{name}:\n", *_lines(value, origins, path + ".")]
        else:
            comment = f"  # {origins[path]}" if path in origins else ""
            lines.append(f"{indent}{name}: {_scalar(value)}{comment}\n")
    return lines


def _scalar(value: Any) -> str:
    plain = isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT
    return value if plain else json.dumps(value, ensure_ascii=False)


def schema() -> dict[str, Any]:
    """The JSON schema of the configuration file; keys at its top that are not ours belong to other programs."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "k3net configuration",
        **_section_schema(Settings),
        "additionalProperties": True,
    }


def _section_schema(section: type[msgspec.Struct]) -> dict[str, Any]:
    return {
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": {field.name: _field_schema(field) for field in msgspec.structs.fields(section)},
    }


def _field_schema(field: msgspec.structs.FieldInfo) -> dict[str, Any]:
    if is_section(field.type):
        return _section_schema(field.type)
    default = {} if field.type is Secret else {"default": _public(field.default)}
    return {**msgspec.json.schema(field.type, schema_hook=_schema_of), **default}


def _schema_of(kind: Any) -> dict[str, Any]:
    return kind.schema
