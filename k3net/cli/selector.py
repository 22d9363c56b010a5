"""Label selectors in the equality forms of Kubernetes: `key=value`, `key!=value`, `key`, `!key`, joined by commas."""

import re
from collections.abc import Callable, Mapping

_NAME = r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?"
_TERM = re.compile(rf"(!?)((?:{_NAME}/)?{_NAME})(?:(==?|!=)({_NAME})?)?", re.ASCII)

Labels = Mapping[str, object]


def parse_selector(text: str) -> Callable[[Labels], bool]:
    """A test of labels that is true where every term holds; ValueError names a term that cannot be read."""
    terms = [_parse_term(part.strip()) for part in text.split(",")]
    return lambda labels: all(term(labels) for term in terms)


def _parse_term(text: str) -> Callable[[Labels], bool]:
    form = _TERM.fullmatch(text)
    if form is None or (form[1] and form[3]):
        raise ValueError(f"expected key=value, key!=value, key or !key, not {text[:80]!r}")
    absent, key, operator, value = form[1], form[2], form[3], form[4] or ""
    if not operator:
        return lambda labels: (key not in labels) == bool(absent)
    return lambda labels: (labels.get(key) == value) == (operator != "!=")
