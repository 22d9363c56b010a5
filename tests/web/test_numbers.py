"""Numbers in an answer are the stored ones."""

from decimal import Decimal

from k3net.web.request import _pieces
from k3net.web.resource import JSONStream


def test_a_number_that_no_float_holds_is_still_a_number():
    big = Decimal("1e400")
    [body] = _pieces(JSONStream(b"[", [{"n": big, "i": 2**70}], b"]"))
    assert body == b'[{"n":1E+400,"i":1180591620717411303424}]'
