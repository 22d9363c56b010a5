from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import observations

from k3net.errors import InvalidObservation
from k3net.model.observation import SOURCES, Observation, in_family_order, usable_address, valid_name

LABEL = "a" * 63
LONGEST = ".".join((LABEL, LABEL, LABEL, "a" * 61))


def claim(**changed):
    return Observation(**{"peer": "n1", "source": "mdns", "seen_at": 0.0, "ttl": 90.0, **changed})


@pytest.mark.parametrize(
    "name", ["n1", "a", "0", "1.2.3.4", "node-1.example", "a--b", LABEL, LONGEST, "xn--bcher-kva", "a.b.c.d.e"]
)
def test_a_dns_1123_subdomain_is_a_name(name):
    assert valid_name(name)


@pytest.mark.parametrize(
    "name",
    [
        None, 7, b"n1", ["n1"], "", "N1", "Node", "n_1", "-n", "n-", ".n", "n.", "n..m", "a.-b", "a-.b", "n1\n",
        "\nn1", "n1\r", "n 1", " n1",
        "n1\x00", "n/1", "../etc", "n1%00", "a" * 64, f"{LABEL}.{'a' * 64}", LONGEST + "a", f"{LONGEST}.a",
        "bücher", "n１", "n٣", "ｎ1", "ı",
        "n\u200b1", "a" * 100_000, "-" * 100_000, "a." * 100_000, '"n1"', "<b>", "node=n1", "\ud800",
    ],
)  # fmt: skip
def test_anything_else_is_none(name):
    assert not valid_name(name)
    with pytest.raises(InvalidObservation) as caught:
        claim(peer=name)
    assert caught.value.field == "peer"


def test_the_longest_name_has_253_characters():
    assert len(LONGEST) == 253


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("10.0.0.1", "10.0.0.1"),
        ("172.17.0.1", "172.17.0.1"),
        ("223.255.255.254", "223.255.255.254"),
        ("100.64.0.1", "100.64.0.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:0DB8:0:0::1", "2001:db8::1"),
        ("fd00::1", "fd00::1"),
        ("fc00::1", "fc00::1"),
        ("2001:db8::192.0.2.1", "2001:db8::c000:201"),
    ],
)
def test_an_address_that_another_machine_can_reach_is_usable(text, canonical):
    assert str(usable_address(text)) == canonical


@pytest.mark.parametrize(
    "text",
    [
        None, 7, 3232235777, b"\xc0\x00\x02\x01", True, "", "n1", "localhost", "192.0.2", "192.0.2.256",
        "192.0.2.01", "0xc0.0.2.1",
        "192.0.2.1/24", "192.0.2.1:80", "192.0.2.1 ", " 192.0.2.1", "192.0.2.1\n", "192.0.2.１", "٣.٣.٣.٣",
        "3221225985",
        "0.0.0.0", "0.0.0.1", "0.255.255.255", "127.0.0.1", "127.1.2.3", "127.255.255.255", "224.0.0.1",
        "224.0.0.251", "239.255.255.255",
        "240.0.0.1", "254.1.2.3", "255.255.255.255",
        "::", "::1", "fe80::1", "febf::1", "fe80::1%eth0", "ff02::1", "ff02::fb", "ff0e::1", "::ffff:192.0.2.1",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1", "::127.0.0.1", "::192.0.2.1", "2001:db8::1%eth0", "2001:db8::1%", "2001:db8::1/64",
        "[2001:db8::1]", "2001:db8:::1",
        "2001:db8::1\n", "12345::1",
    ],
)  # fmt: skip
def test_an_address_that_names_no_other_machine_is_not(text):
    assert usable_address(text) is None
    with pytest.raises(InvalidObservation) as caught:
        claim(addresses=("192.0.2.1", text))
    assert caught.value.field == "addresses"


@given(st.text() | st.ip_addresses().map(str) | st.from_regex(r"[0-9a-f:.%]{1,24}"))
def test_no_text_makes_an_address_or_a_name_raise(text):
    found = usable_address(text)
    assert found is None or usable_address(str(found)) == found
    assert valid_name(text) in (True, False)


def test_one_address_in_two_spellings_is_one_address():
    assert claim(addresses=("2001:DB8:0::1", "192.0.2.1")).addresses == ("2001:db8::1", "192.0.2.1")


def test_ipv4_comes_first_and_otherwise_the_order_stays():
    mixed = ["2001:db8::2", "192.0.2.9", "2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.9"]
    assert in_family_order(mixed) == ("192.0.2.9", "192.0.2.1", "2001:db8::2", "2001:db8::1")
    assert in_family_order([]) == ()


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("source", ["", "MDNS", "gossip"]),
        ("seen_at", [float("nan"), float("inf"), float("-inf")]),
        ("ttl", [-1.0, -1e-9, float("nan"), float("inf")]),
        ("addresses", [("192.0.2.1",) * 17, "192.0.2.1"]),
        ("port", [-1, 65536, 99999, True, 80.0, "80", None]),
        ("reason", ["two words", "1st", "Ends:", "x" * 129, "new\nline", "Gründe", "<b>"]),
        ("message", ["x" * 256, "a\nb", "\x00", "\x1b[31m", "\x7f", "\x85"]),
        ("message", ["\u2028", "\u202e", "\u2066", "\ud800", "\udfff"]),
        ("pod_cidrs", [("x" * 256,), ("10.42.0.0/24\n",), ("\udc80",)]),
        ("meta", [{str(n): "" for n in range(17)}, {"pid": "x" * 256}, {"pid": "1\n2"}, {"pid": "\ud800"}]),
    ],
)  # fmt: skip
def test_a_broken_rule_names_its_field(field, values):
    for value in values:
        with pytest.raises(InvalidObservation) as caught:
            claim(**{field: value})
        assert caught.value.field == field, value
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changed",
    [
        {"source": "own"},
        {"seen_at": -5.0},
        {"ttl": 0.0},
        {"ttl": 10},
        {"addresses": ("192.0.2.1",) * 16},
        {"port": 65535},
        {"reason": "x" * 128},
        {"reason": "CriticalCheck:disk_full"},
        {"message": "größer als erlaubt, 日本語"},
        {"message": "x" * 255},
        {"meta": {str(n): "x" for n in range(16)}},
    ],
)
def test_what_keeps_the_rules_is_taken_as_it_is(changed):
    made = claim(**changed)
    assert {key: getattr(made, key) for key in changed} == changed


@given(st.text())
def test_a_text_that_is_taken_can_be_stored_as_one_line_of_utf_8(text):
    try:
        made = claim(message=text)
    except InvalidObservation:
        return
    assert len(made.message.encode().splitlines()) <= 1
    assert len(made.message) <= 255


def test_a_claim_holds_through_the_last_moment_of_its_ttl():
    made = claim(seen_at=5.0, ttl=90.0)
    assert [made.lapsed(now) for now in (0.0, 5.0, 95.0, 95.001)] == [False, False, False, True]


def test_a_goodbye_never_held():
    made = claim(seen_at=5.0, ttl=0.0)
    assert made.goodbye
    assert [made.lapsed(now) for now in (0.0, 5.0, 6.0)] == [True, True, True]


@given(st.floats(0, 1e9), st.floats(1e-9, 1e6))
def test_the_moment_it_lapses_is_the_last_at_which_it_holds(seen_at, ttl):
    made = claim(seen_at=seen_at, ttl=ttl)
    assert not made.lapsed(made.lapses_at)
    assert made.lapsed(made.lapses_at * (1 + 1e-15) + 1e-15)


@given(observations(names=("n1",), sources=("mdns",)), observations(names=("n1",), sources=("mdns",)))
def test_of_two_different_claims_exactly_one_is_newer(one, other):
    assert [one.newer_than(other), other.newer_than(one)].count(True) == (one != other)
    assert one.same_claim(replace(one, seen_at=99.0))


@given(st.lists(observations(names=("n1",), sources=("mdns",)), min_size=3, max_size=3))
def test_newer_is_a_total_order(three):
    for a in three:
        for b in three:
            for c in three:
                assert not (a.newer_than(b) and b.newer_than(c)) or a.newer_than(c)


def test_in_a_tie_the_goodbye_is_newer():
    assert claim(ttl=0.0).newer_than(claim(ready=True, port=22, message="zzz"))


def test_every_source_is_known():
    assert [claim(source=source).source for source in SOURCES] == list(SOURCES)
