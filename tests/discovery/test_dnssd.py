"""DNS-SD by a real zeroconf on 127.0.0.1: packets are built as hosts build them, and come in as if from the LAN."""

import asyncio
import gc
import os
import threading
import time
from concurrent import futures
from itertools import permutations

import pytest
from discovery.packets import TYPE, a, give, packet, ptr, srv, txt, txt_bytes, whole
from hypothesis import given
from hypothesis import strategies as st
from zeroconf import BadTypeInNameException, ServiceInfo

from k3net.discovery import dnssd
from k3net.discovery.dnssd import DnsSd, NameTaken, parse_txt
from k3net.errors import K3netError

NAME = f"n1.{TYPE}"


class Heard:
    """What a DnsSd tells, taken over when the test asks for it."""

    def __init__(self, service_type=TYPE):
        self.batches = []
        self.waiting = []
        self.dnssd = DnsSd(service_type, self.batches.append, self.waiting.append)

    def give(self, *records_or_packets, ago=0.0):
        """One packet of these records comes in; what is told then, by instance name."""
        self.give_packets(packet(*records_or_packets), ago=ago)
        return self.take()

    def give_packets(self, *packets, ago=0.0):
        give(self.dnssd._opened, *packets, ago=ago)

    def take(self):
        waiting, self.waiting[:] = list(self.waiting), []
        self.batches.clear()
        for hand_over in waiting:
            hand_over()
        return {instance.name: instance for batch in self.batches for instance in batch}


@pytest.fixture
def heard():
    heard = Heard()
    heard.dnssd.open(["127.0.0.1"])
    yield heard
    heard.dnssd.close()


@pytest.fixture(autouse=True)
def quiet(caplog):
    """Nothing may be left to asyncio's last resort."""
    yield
    assert [r.getMessage() for r in caplog.records if r.name == "asyncio"] == []


# What is heard


def test_an_instance_whole_in_one_packet_is_told_at_once(heard):
    begun = time.monotonic()
    [told] = heard.give(*whole("n1", node="n1", port="7946", pid="7")).values()
    assert (told.name, told.host, told.port, told.goodbye) == (NAME, "h1.local.", 7946, False)
    assert told.txt == {"node": "n1", "port": "7946", "pid": "7"}
    assert told.addresses == ("10.0.0.2",)
    assert begun <= told.heard_at <= time.monotonic()


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_an_instance_in_four_packets_is_told_once_srv_txt_and_address_are_there(heard, order):
    records = whole("n1")
    for count, i in enumerate(order, 1):
        told = heard.give(records[i])
        assert bool(told) == ({1, 2, 3} <= set(order[:count]))
    assert (told[NAME].port, told[NAME].txt, told[NAME].addresses) == (7946, {"node": "n1"}, ("10.0.0.2",))


def test_ipv4_and_ipv6_addresses_are_told(heard):
    told = heard.give(*whole("n1"), a("fd77::2"), a("fe80::2"))
    assert set(told[NAME].addresses) == {"10.0.0.2", "fd77::2", "fe80::2"}


def test_a_repeated_announcement_is_heard_again(heard):
    first = heard.give(*whole("n1"))[NAME]
    again = heard.give(*whole("n1"))[NAME]
    assert again.heard_at > first.heard_at


def test_any_record_of_an_instance_is_a_sign_of_it(heard):
    heard.give(*whole("n1"))
    for record in whole("n1"):
        assert heard.give(record)[NAME].addresses == ("10.0.0.2",)


def test_a_changed_txt_counts_at_once(heard):
    heard.give(*whole("n1", node="n1", port="1"), ago=5)
    assert heard.give(txt("n1", {"node": "n1", "port": "2"}))[NAME].txt["port"] == "2"


def test_a_txt_changed_again_within_a_second_counts_too(heard):
    heard.give(*whole("n1", node="n1", port="1"), ago=5)
    heard.give(txt("n1", {"node": "n1", "port": "2"}), ago=0.5)
    assert heard.give(txt("n1", {"node": "n1", "port": "3"}))[NAME].txt["port"] == "3"


def test_a_changed_port_and_host_count_at_once(heard):
    heard.give(*whole("n1"), ago=5)
    told = heard.give(srv("n1", "h2.local.", 7000), a("10.0.0.9", "h2.local."))[NAME]
    assert (told.port, told.host, told.addresses) == (7000, "h2.local.", ("10.0.0.9",))


def test_a_new_address_with_the_cache_flush_bit_replaces_the_old_one_at_once(heard):
    heard.give(*whole("n1"), ago=5)
    assert heard.give(a("10.0.0.9"))[NAME].addresses == ("10.0.0.9",)
    assert heard.give(*whole("n1", "10.0.0.9"))[NAME].addresses == ("10.0.0.9",)


def test_a_flush_of_ipv4_addresses_leaves_those_of_ipv6(heard):
    heard.give(*whole("n1"), a("fd77::2"), ago=5)
    assert set(heard.give(a("10.0.0.9"))[NAME].addresses) == {"10.0.0.9", "fd77::2"}


def test_addresses_of_one_announcement_in_two_packets_do_not_flush_each_other(heard):
    heard.give(*whole("n1"), ago=0.5)
    assert set(heard.give(a("10.0.0.9"))[NAME].addresses) == {"10.0.0.2", "10.0.0.9"}


def test_a_new_address_without_the_cache_flush_bit_joins_the_old_one(heard):
    heard.give(*whole("n1"), ago=5)
    assert set(heard.give(a("10.0.0.9", flush=False))[NAME].addresses) == {"10.0.0.2", "10.0.0.9"}


def test_addresses_without_the_cache_flush_bit_stay_until_they_expire(heard):
    heard.give(ptr("n1"), srv("n1"), txt("n1"), a("10.0.0.2", flush=False, ttl=10), ago=5)
    heard.give(a("10.0.0.9", flush=False))
    assert set(heard.give(srv("n1"))[NAME].addresses) == {"10.0.0.2", "10.0.0.9"}
    heard.give(a("10.0.0.2", flush=False, ttl=1), ago=1.5)
    assert heard.give(srv("n1"))[NAME].addresses == ("10.0.0.9",)


def test_two_instances_on_one_host_both_follow_its_address(heard):
    heard.give(*whole("n1"), *whole("n2")[:3], ago=5)
    told = heard.give(a("10.0.0.9"))
    assert {name: told[name].addresses for name in told} == {NAME: ("10.0.0.9",), f"n2.{TYPE}": ("10.0.0.9",)}


@pytest.mark.parametrize("label", ["a.b.c", "Grüße 漢字", "with space", 'quo"te', "x" * 63, "a\\.b"])
def test_an_instance_may_have_any_label(heard, label):
    told = heard.give(*whole(label, node="n1"))
    assert told[f"{label}.{TYPE}"].txt == {"node": "n1"}


def test_names_differ_by_case_in_nothing(heard):
    heard.give(*whole("Node-A", node="n1"), ago=5)
    upper = TYPE.upper().replace("LOCAL", "local")
    [told] = heard.give(srv("NODE-a", "H1.LOCAL.", 7000, service_type=upper)).values()
    assert (told.port, told.addresses, told.txt) == (7000, ("10.0.0.2",), {"node": "n1"})
    [gone] = heard.give(ptr("node-A", ttl=0, service_type=upper)).values()
    assert gone.goodbye
    assert len(heard.dnssd._known) == 0


def test_what_is_not_of_the_type_is_not_told(heard):
    records = (ptr("n1", service_type="_other._tcp.local."), srv("n1", service_type="_other._tcp.local."))
    assert heard.give(*records, txt("n1", service_type="_other._tcp.local."), a("10.0.0.2")) == {}
    assert heard.give(txt("x.n1", service_type=f"x{TYPE}"), srv("n1", service_type=f"x{TYPE}")) == {}
    assert heard.dnssd.errors == 0


def test_the_caches_own_expiry_says_nothing(heard):
    heard.give(ptr("n1"), srv("n1", ttl=1), txt("n1", ttl=1), a("10.0.0.2", ttl=1), ago=1.5)
    heard.take()

    async def clean_up():
        heard.dnssd._opened.engine._async_cache_cleanup()

    asyncio.run_coroutine_threadsafe(clean_up(), heard.dnssd._opened.loop).result(5)
    assert heard.take() == {}


def test_what_expired_is_filled_from_what_was_known(heard):
    heard.give(*whole("n1"), ago=5)
    heard.give(a("10.0.0.2", ttl=0))
    assert heard.give(srv("n1", port=7000))[NAME].addresses == ("10.0.0.2",)


# Goodbyes


def test_a_goodbye_of_the_pointer_alone_is_one(heard):
    heard.give(*whole("n1"), ago=5)
    [gone] = heard.give(ptr("n1", ttl=0)).values()
    assert (gone.goodbye, gone.name, gone.addresses, gone.txt) == (True, NAME, ("10.0.0.2",), {"node": "n1"})


def test_a_goodbye_of_all_records_is_one(heard):
    heard.give(*whole("n1"), ago=5)
    told = heard.give(ptr("n1", ttl=0), srv("n1", ttl=0), txt("n1", ttl=0), a("10.0.0.2", ttl=0))
    assert [i.goodbye for i in told.values()] == [True]


def test_a_goodbye_in_several_packets_ends_as_one(heard):
    heard.give(*whole("n1"), ago=5)
    goodbyes = [ptr("n1", ttl=0), srv("n1", ttl=0), txt("n1", ttl=0), a("10.0.0.2", ttl=0)]
    for record in reversed(goodbyes[1:]):
        heard.give(record)
    assert heard.give(goodbyes[0])[NAME].goodbye
    for record in goodbyes[1:]:
        assert heard.give(record) == {}


def test_a_repeated_goodbye_and_one_of_an_instance_never_heard_say_nothing(heard):
    heard.give(*whole("n1"), ago=5)
    heard.give(ptr("n1", ttl=0))
    assert heard.give(ptr("n1", ttl=0)) == {}
    assert heard.give(ptr("n2", ttl=0), srv("n2", ttl=0)) == {}
    assert heard.dnssd.errors == 0


def test_an_instance_may_come_back_after_its_goodbye(heard):
    heard.give(*whole("n1"), ago=5)
    heard.give(ptr("n1", ttl=0))
    assert not heard.give(*whole("n1", "10.0.0.9"))[NAME].goodbye


def test_an_announcement_and_a_goodbye_before_anyone_looks_are_the_goodbye(heard):
    heard.give_packets(packet(*whole("n1")), packet(ptr("n1", ttl=0)))
    [told] = heard.take().values()
    assert told.goodbye


# What is asked for


def asked(heard):
    return heard.dnssd._asking.under_way.keys() | heard.dnssd._asking.waiting


def test_an_instance_without_srv_is_asked_for(heard):
    assert heard.give(ptr("n1"), txt("n1"), a("10.0.0.2")) == {}
    assert asked(heard) == {NAME}
    assert heard.give(srv("n1"))[NAME].port == 7946
    until = time.monotonic() + 5
    while asked(heard) and time.monotonic() < until:
        time.sleep(0.02)
    assert asked(heard) == set()


def test_many_are_asked_for_eight_at_a_time_and_the_rest_is_bounded(heard, monkeypatch):
    monkeypatch.setattr(dnssd, "_NEWCOMERS_AT_ONCE", 10_000.0)
    heard.dnssd._tokens = 10_000.0
    for start in range(0, 2000, 20):
        heard.give_packets(packet(*(ptr(f"n{i}") for i in range(start, start + 20))))
    assert len(heard.dnssd._asking.under_way) == 8
    assert len(heard.dnssd._asking.waiting) == 1024
    assert heard.dnssd.dropped == 2000 - 1024 - 8


def test_an_instance_is_asked_for_once_at_a_time(heard):
    for _ in range(5):
        heard.give(ptr("n1"))
    assert asked(heard) == {NAME}
    assert heard.dnssd.dropped == 0


def test_closing_while_asking_ends_cleanly(capfd, caplog):
    heard = Heard()
    heard.dnssd.open(["127.0.0.1"])
    heard.give(*(ptr(f"n{i}") for i in range(20)))
    begun = time.monotonic()
    heard.dnssd.close()
    assert time.monotonic() - begun < 3
    assert heard.dnssd._asking.under_way == {}
    del heard
    gc.collect()  # a task that nobody ended complains when it is collected
    assert (capfd.readouterr().err, caplog.messages) == ("", [])


def test_one_whose_name_zeroconf_refuses_is_an_error_and_no_more(heard):
    heard.give(ptr(""), ptr("n\x00"), ptr("n1"))
    assert NAME in asked(heard)
    assert heard.give(*whole("n2"))[f"n2.{TYPE}"].port == 7946


# Bounds


def test_newcomers_pay_with_tokens_and_those_known_do_not(heard):
    heard.give(*whole("n1"))
    heard.dnssd._tokens = 0.0
    for i in range(100):
        heard.give_packets(packet(*whole(f"x{i}", host=f"x{i}.local.")))
    told = heard.give(*whole("n1", "10.0.0.9"))
    assert len(told) < 100
    assert told[NAME].port == 7946
    assert heard.dnssd.dropped >= 50


def test_tokens_come_back_and_are_bounded(heard):
    heard.dnssd._tokens = 0.0
    heard.dnssd._refilled_at = heard.dnssd._now() - 3600
    assert heard.dnssd._has_token()
    assert 2000 < heard.dnssd._tokens <= dnssd._NEWCOMERS_AT_ONCE


def test_what_waits_and_what_is_known_is_bounded(heard, monkeypatch):
    monkeypatch.setattr(dnssd, "_MOST_WAITING", 30)
    monkeypatch.setattr(dnssd, "_MOST_KNOWN", 50)
    for i in range(100):
        heard.give_packets(packet(*whole(f"x{i}", host=f"x{i}.local.")))
    assert len(heard.dnssd._known) == 50
    assert heard.dnssd.dropped == 70
    assert list(heard.take()) == [f"x{i}.{TYPE}" for i in range(30)]


def test_the_longest_unheard_is_forgotten_first(heard, monkeypatch):
    monkeypatch.setattr(dnssd, "_MOST_KNOWN", 3)
    for label in ("n1", "n2", "n3", "n1", "n4"):
        heard.give_packets(packet(*whole(label, host=f"{label}.local.")))
    heard.take()
    assert heard.give(ptr("n2", ttl=0)) == {}
    assert heard.give(ptr("n1", ttl=0))[NAME].goodbye


def test_an_instance_is_handed_over_once_for_all_it_said_meanwhile(heard):
    for port in range(1, 50):
        heard.give_packets(packet(*whole("n1"), srv("n1", port=port)))
    assert len(heard.waiting) == 1
    [told] = heard.take().values()
    assert told.name == NAME
    assert heard.take() == {}


def test_what_is_handed_over_in_another_thread_is_neither_lost_nor_told_twice():
    told, event, work = [], threading.Event(), []
    lock = threading.Lock()

    def handover(f):
        with lock:
            work.append(f)
        event.set()

    dnssd = DnsSd(TYPE, told.extend, handover)
    dnssd.open(["127.0.0.1"])
    stop = threading.Event()

    def reactor():
        while not stop.is_set():
            event.wait(0.05)
            event.clear()
            with lock:
                todo, work[:] = list(work), []
            for f in todo:
                f()

    thread = threading.Thread(target=reactor)
    thread.start()
    try:
        for i in range(500):
            give(dnssd._opened, packet(*whole(f"x{i}", host=f"x{i}.local.")))
        until = time.monotonic() + 5
        while len({i.name for i in told}) < 500 and time.monotonic() < until:
            time.sleep(0.01)
    finally:
        stop.set()
        thread.join()
        dnssd.close()
    assert sorted({i.name for i in told}) == sorted(f"x{i}.{TYPE}" for i in range(500))
    assert len(told) == 500


def test_a_listener_that_breaks_does_not_end_zeroconfs_thread(heard):
    heard.dnssd._handover = lambda f: 1 / 0
    heard.give(*whole("n1"))
    assert heard.dnssd.errors == 1
    heard.dnssd._handover = heard.waiting.append
    heard.dnssd._waiting.clear()
    assert heard.give(*whole("n2"))


# Speaking


def own_type():
    """A type of this process alone: others may speak on this machine's loopback too."""
    return f"_k3t{os.getpid() % 100000}._tcp.local."


def announcement(label, address="127.0.0.1", port=7946):
    service_type = own_type()
    return ServiceInfo(
        service_type, f"{label}.{service_type}", port=port, properties={"node": label}, parsed_addresses=[address]
    )


@pytest.fixture
def two():
    both = Heard(own_type()), Heard(own_type())
    for heard in both:
        heard.dnssd.open(["127.0.0.1"])
    yield both
    for heard in both:
        heard.dnssd.close()


def until_told(heard, wanted, seconds=6.0):
    last = {}
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        last |= heard.take()
        for instance in last.values():
            if wanted(instance):
                return instance
        time.sleep(0.02)
    raise AssertionError(f"not told; last {last}")


def test_what_one_announces_renews_and_ends_another_hears(two):
    one, other = two
    one.dnssd.announce(announcement("a"))
    assert until_told(other, lambda i: i.txt == {"node": "a"}).addresses == ("127.0.0.1",)
    time.sleep(1.5)  # what is younger than a second is not flushed (RFC 6762 section 10.2)
    one.dnssd.renew(announcement("a", "127.0.0.7", 7000))
    assert until_told(other, lambda i: i.port == 7000 and i.addresses == ("127.0.0.7",))
    one.dnssd.close()
    assert until_told(other, lambda i: i.goodbye).name == f"a.{own_type()}"


def test_a_name_that_another_has_is_taken_and_free_when_it_left(two):
    one, other = two
    one.dnssd.announce(announcement("a"))
    until_told(other, lambda i: True)
    with pytest.raises(NameTaken, match=r"^a\._k3t"):
        other.dnssd.announce(announcement("a", "127.0.0.2"))
    one.dnssd.close()
    until_told(other, lambda i: i.goodbye)
    deadline = time.monotonic() + 3
    while True:
        try:
            other.dnssd.announce(announcement("a", "127.0.0.2"))
            break
        except NameTaken:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_following_the_same_interfaces_keeps_what_is_announced(two):
    one, other = two
    one.dnssd.announce(announcement("a"))
    until_told(other, lambda i: True)
    one.dnssd.follow(["127.0.0.1"])
    one.dnssd.renew(announcement("a", port=7000))
    assert until_told(other, lambda i: i.port == 7000)


def test_what_is_not_open_says_so_and_closes_quietly():
    dnssd = DnsSd(TYPE, lambda _: None, lambda f: f())
    for call in (dnssd.browse, lambda: dnssd.follow([]), lambda: dnssd.announce(announcement("a"))):
        with pytest.raises(K3netError, match="not open"):
            call()
    dnssd.close()
    dnssd.close()


def test_what_cannot_be_browsed_leaves_no_zeroconf_behind():
    before = threading.active_count()
    for _ in range(3):
        dnssd = DnsSd("no service type", lambda _: None, lambda f: f())
        with pytest.raises(BadTypeInNameException):
            dnssd.open(["127.0.0.1"])
    until = time.monotonic() + 3
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.02)
    assert threading.active_count() == before


def test_one_closed_while_it_opens_ends_closed():
    dnssd = DnsSd(TYPE, lambda _: None, lambda f: f())
    dnssd.close()
    before = threading.active_count()
    with pytest.raises(K3netError, match="closed"):
        dnssd.open(["127.0.0.1"])
    assert threading.active_count() == before


def test_a_call_that_takes_too_long_is_given_up_and_not_done_later(heard, monkeypatch):
    monkeypatch.setattr(dnssd, "_CALL_SECONDS", 0.05)
    with pytest.raises(futures.TimeoutError):
        heard.dnssd.announce(announcement("slow"))
    time.sleep(2)
    assert heard.dnssd._opened.registry.async_get_service_infos() == []


# TXT


@given(st.binary(max_size=2000))
def test_any_bytes_are_a_txt_of_bounded_size(data):
    found = parse_txt(data)
    assert len(found) <= 32
    for key, value in found.items():
        assert key
        assert key == key.lower()
        assert key.isascii()
        assert len(value) <= 255


@given(st.dictionaries(st.from_regex(r"[a-z]{1,9}", fullmatch=True), st.text(max_size=50), max_size=20))
def test_what_was_written_is_read(items):
    assert parse_txt(txt_bytes(items)) == items


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", {}),
        (b"\x00", {}),
        (b"\x03a=1\x03a=2", {"a": "1"}),
        (b"\x03A=1\x03a=2", {"a": "1"}),
        (b"\x04flag\x03b=2", {"b": "2"}),
        (b"\x02a=\x03b=2", {"a": "", "b": "2"}),
        (b"\x02=1\x03b=2", {"b": "2"}),
        (b"\x05a=b=c", {"a": "b=c"}),
        (b"\x04a=\xff1\x03b=2", {"b": "2"}),
        (b"\x03\xff=1\x03b=2", {"b": "2"}),
        (b"\xffa=cut short", {"a": "cut short"}),
    ],
)
def test_a_txt_is_read_as_rfc_6763_says(data, found):
    assert parse_txt(data) == found
