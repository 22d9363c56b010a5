"""resolv.conf and DNS answers: what is understood, and what strangers may write."""

import string

from hypothesis import given
from hypothesis import strategies as st
from twisted.names import dns

from k3net.probes.dns_exchange import Answer, parse_answer, query
from k3net.probes.resolv import Resolv, is_dns_name, parse_resolv

LABELS = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=63)
NAMES = st.lists(LABELS, min_size=1, max_size=3).map(".".join)


def test_a_file_as_kubernetes_writes_it():
    found = parse_resolv(
        "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
    )
    assert found.servers == ("10.96.0.10",)
    assert list(found.candidates("db")) == [
        "db.default.svc.cluster.local",
        "db.svc.cluster.local",
        "db.cluster.local",
        "db",
    ]
    assert next(found.candidates("a.b.c.d.e.f")) == "a.b.c.d.e.f"
    assert list(found.candidates("db.prod.")) == ["db.prod"]


def test_an_empty_file_means_a_server_on_this_machine():
    assert parse_resolv("# nothing\n; here\nnameserver\nnameserver x\noptions\nnonsense 1\n") == Resolv()
    assert Resolv().servers == ("127.0.0.1",)


def test_the_last_search_counts_and_servers_are_three():
    found = parse_resolv("domain a\nsearch b. c\n" + "".join(f"nameserver 10.0.0.{i}\n" for i in range(9)))
    assert (found.search, found.servers) == (("b", "c"), ("10.0.0.0", "10.0.0.1", "10.0.0.2"))
    assert parse_resolv("nameserver fe80::1%eth0\noptions ndots:999 rotate ndots:x").ndots == 15


@given(st.text() | st.from_regex(r"(nameserver|search|domain|options) [^\n]{0,30}\n"), st.text(max_size=20))
def test_any_file_and_name_give_few_candidates_and_servers(text, name):
    found = parse_resolv(text)
    assert 1 <= len(found.servers) <= 3
    assert 1 <= len(list(found.candidates(name))) <= 7


@given(NAMES, st.integers(0, 65535), st.sampled_from([dns.A, dns.AAAA]))
def test_a_question_is_read_by_another_implementation_as_it_was_meant(name, identifier, kind):
    message = dns.Message()
    message.fromStr(query(identifier, name, kind))
    [asked] = message.queries
    assert (message.id, message.recDes, asked.name.name, asked.type) == (identifier, 1, name.encode(), kind)


@given(st.text(max_size=300))
def test_a_dns_name_can_be_asked_for(name):
    if is_dns_name(name):
        query(1, name.removesuffix("."), dns.A)


def answered(*addresses, name="k3.example", kind=dns.A, **header):
    message = dns.Message(id=7, answer=1, **header)
    message.addQuery(name.encode(), kind)
    record = dns.Record_A if kind == dns.A else dns.Record_AAAA
    message.answers = [dns.RRHeader(name.encode(), kind, payload=record(address, 5), ttl=5) for address in addresses]
    return message.toStr()


def test_answers_are_read():
    assert parse_answer(answered("10.0.0.1"), 7, "k3.EXAMPLE", dns.A) == Answer("NOERROR", ("10.0.0.1",))
    six = answered("fd00::1", kind=dns.AAAA)
    assert parse_answer(six, 7, "k3.example", dns.AAAA) == Answer("NOERROR", ("fd00::1",))
    assert parse_answer(answered(rCode=3), 7, "k3.example", dns.A) == Answer("NXDOMAIN")
    assert parse_answer(answered(rCode=11), 7, "k3.example", dns.A) == Answer("RCODE11")
    assert parse_answer(answered(trunc=1), 7, "k3.example", dns.A) == Answer("NOERROR", (), True)
    many = parse_answer(answered(*[f"10.0.0.{i}" for i in range(100)]), 7, "k3.example", dns.A)
    assert len(many.addresses) == 16


def test_what_answers_another_question_is_no_answer():
    assert parse_answer(answered("10.0.0.1"), 8, "k3.example", dns.A) is None
    assert parse_answer(answered("10.0.0.1"), 7, "k4.example", dns.A) is None
    assert parse_answer(answered("10.0.0.1"), 7, "k3.example", dns.AAAA) is None
    assert parse_answer(query(7, "k3.example", dns.A), 7, "k3.example", dns.A) is None


@given(st.binary(max_size=600), st.integers(0, 60), st.sampled_from([dns.A, dns.AAAA]))
def test_any_bytes_are_an_answer_or_nothing(data, at, kind):
    whole = answered("10.0.0.1", "10.0.0.2") if kind == dns.A else answered("::1", kind=kind)
    for each in (data, whole[:at] + data, whole[:at] + data + whole[at + len(data) :]):
        found = parse_answer(each, 7, "k3.example", kind)
        assert found is None or len(found.addresses) <= 16
