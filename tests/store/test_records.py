import json
from decimal import Decimal

import pytest
from contracts import CORRUPT, UNKNOWN, manifest_of, node
from hypothesis import given
from hypothesis import strategies as st

from k3net.errors import CorruptRecord
from k3net.model.node import Node
from k3net.store import records

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**40), max_value=10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda parts: st.lists(parts) | st.dictionaries(st.text(), parts),
    max_leaves=20,
)


def exactly(text):
    """Every number a Decimal, every object a list of pairs: equal only if nothing was lost."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal, object_pairs_hook=list)


@given(JSON, st.booleans())
def test_any_json_survives_whoever_wrote_it(value, ascii_only):
    numbers = []

    def number(d):
        numbers.append(str(d))
        return f"<{len(numbers) - 1}>"

    text = json.dumps({**manifest_of("n1"), "x": value}, ensure_ascii=ascii_only, default=number)
    for at, digits in enumerate(numbers):
        text = text.replace(f'"<{at}>"', digits)
    read = records.decode("n1", text, 1)
    assert exactly(records.encode(read)) == exactly(text)
    assert records.encode(records.decode("n1", records.encode(read), 1)) == records.encode(read)


def test_the_order_of_keys_survives():
    text = '{"zeta":{"b":1,"a":2},"metadata":{"name":"n1"},"alpha":0}'
    assert records.encode(records.decode("n1", text, 1)) == text


@pytest.mark.parametrize(
    "text", ["1.0", "-0.0", "1e5", "1E+5", "0.1", "123456789012345678901234567890", "1e400", "-1e-400"]
)
def test_a_number_keeps_its_value(text):
    read = records.decode("n1", f'{{"metadata":{{"name":"n1"}},"x":{text}}}', 1)
    assert exactly(records.encode(read))[1] == ("x", Decimal(text))


def test_what_is_no_node_is_corrupt_and_says_why():
    for raw in CORRUPT:
        with pytest.raises(CorruptRecord) as caught:
            records.decode("n1", raw, 1)
        assert caught.value.name == "n1"
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "text", [None, 3, 1.5, "\ud800", b"\xef\xbb\xbf{}", "9" * 5000, '{"x":1e99999999999999999999}']
)
def test_what_is_no_text_or_no_json_is_corrupt(text):
    with pytest.raises(CorruptRecord):
        records.decode("n1", text, 1)


def nested(levels):
    return '{"metadata":{"name":"n1"},"x":' + "[" * (levels - 1) + "]" * (levels - 1) + "}"


def test_a_record_has_at_most_so_many_levels():
    assert records.decode("n1", nested(records.DEEPEST), 1).name == "n1"
    for levels in (records.DEEPEST + 1, 500, 990, 100_000):
        with pytest.raises(CorruptRecord, match="levels deep"):
            records.decode("n1", nested(levels), 1)


def test_a_record_of_many_brackets_and_few_levels_is_read():
    text = json.dumps({**manifest_of("n1"), "x": [[]] * 1000})
    assert len(records.decode("n1", text, 1).manifest["x"]) == 1000


def test_a_record_may_be_so_large_and_no_larger():
    spare = records.LARGEST - len(records.encode(node("n1", blob="")))
    text = records.encode(node("n1", blob="x" * spare))
    assert records.decode("n1", text, 1).annotations["blob"] == "x" * spare
    with pytest.raises(ValueError, match="bytes, more than"):
        records.encode(node("n1", blob="x" * (spare + 1)))
    with pytest.raises(CorruptRecord, match="bytes, more than"):
        records.decode("n1", text + " ", 1)


@pytest.mark.parametrize("value", [object(), "\ud800", {(1, 2): 3}])
def test_a_manifest_that_json_does_not_hold_is_an_error(value):
    with pytest.raises(ValueError, match="no JSON"):
        records.encode(Node("n1", {**manifest_of("n1"), "x": value}))


def test_a_version_tells_numbers_and_texts_apart():
    tokens = {records.token(number, text) for number in (1, 2) for text in (b"a", b"b")}
    assert len(tokens) == 4
    assert records.decode("n1", UNKNOWN, 17).version == records.token(17, UNKNOWN.encode())
