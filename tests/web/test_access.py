"""Tokens, rates and names, as the checks see them."""

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from k3net.errors import Forbidden, Unauthorized
from k3net.web.access import RateLimit, Tokens, loopback_host


@dataclass
class Asked:
    """The two things a check reads of a request."""

    requestHeaders: Headers = field(default_factory=Headers)
    peer: str = "192.0.2.1"


def bearing(token):
    return Asked(Headers({"Authorization": [token]}))


class TokensTests(SynchronousTestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.clock = Clock()
        self.path = Path(directory.name, "tokens")
        self.path.write_text("# for the dashboard\nalpha\n\n  beta  \n")
        self.tokens = Tokens(self.clock, [str(self.path)])

    def admitted(self, header):
        try:
            self.tokens(bearing(header))
        except Unauthorized:
            return False
        return True

    def test_each_token_of_a_file_lets_in(self):
        self.assertTrue(self.admitted("Bearer alpha"))
        self.assertTrue(self.admitted("bearer  beta"))
        self.assertEqual(self.tokens.error, "")

    def test_nothing_else_does(self):
        for header in ("Bearer", "Bearer ", "Bearer gamma", "alpha", "Basic alpha", "Bearer # for the dashboard"):
            with self.subTest(header=header):
                self.assertFalse(self.admitted(header))
        self.assertRaises(Unauthorized, self.tokens, Asked())

    def test_a_comment_may_follow_a_token_and_one_that_another_api_s_file_bounds_is_none_here(self):
        self.path.write_text("alpha  # the dashboard's\ngamma read\ndel#ta\n")
        for token, lets_in in (("alpha", True), ("gamma", False), ("gamma read", False), ("del#ta", True)):
            with self.subTest(token=token):
                self.assertEqual(self.admitted(f"Bearer {token}"), lets_in)

    def test_several_files_count_together(self):
        second = self.path.with_name("more")
        second.write_text("gamma\n")
        self.tokens = Tokens(self.clock, [str(self.path), str(second)])
        self.assertTrue(self.admitted("Bearer alpha"))
        self.assertTrue(self.admitted("Bearer gamma"))

    def test_a_changed_file_counts_within_a_second(self):
        self.assertTrue(self.admitted("Bearer alpha"))
        self.path.write_text("delta\n")
        os.utime(self.path, ns=(1, 1))
        self.assertFalse(self.admitted("Bearer delta"))
        self.clock.advance(1)
        self.assertTrue(self.admitted("Bearer delta"))
        self.assertFalse(self.admitted("Bearer alpha"))

    def test_a_file_that_goes_away_lets_nobody_in_and_is_told(self):
        self.assertTrue(self.admitted("Bearer alpha"))
        self.path.unlink()
        self.clock.advance(1)
        self.assertFalse(self.admitted("Bearer alpha"))
        self.assertIn("No such file", self.tokens.error)
        self.path.write_text("alpha\n")
        self.clock.advance(1)
        self.assertTrue(self.admitted("Bearer alpha"))
        self.assertEqual(self.tokens.error, "")

    def test_a_file_without_a_token_is_told(self):
        self.path.write_text("# none\n")
        self.assertFalse(self.admitted("Bearer "))
        self.assertIn("no token", self.tokens.error)

    def test_no_file_at_all_lets_nobody_in(self):
        self.tokens = Tokens(self.clock, [])
        self.assertFalse(self.admitted("Bearer alpha"))
        self.assertIn("nobody", self.tokens.error)


class RateLimitTests(SynchronousTestCase):
    def test_a_burst_passes_and_then_the_rate(self):
        clock = Clock()
        limit = RateLimit(clock, rate=10, burst=20)
        self.assertEqual(sum(limit.admits("a") for _ in range(100)), 20)
        clock.advance(1)
        self.assertEqual(sum(limit.admits("a") for _ in range(100)), 10)

    def test_one_address_takes_nothing_from_another(self):
        limit = RateLimit(Clock(), rate=1, burst=1)
        self.assertTrue(limit.admits("a"))
        self.assertFalse(limit.admits("a"))
        self.assertTrue(limit.admits("b"))

    def test_the_table_is_bounded(self):
        limit = RateLimit(Clock(), rate=1, burst=2, addresses=10)
        for number in range(1000):
            limit.admits(f"address {number}")
        self.assertEqual(len(limit._buckets), 10)

    @given(st.lists(st.tuples(st.floats(-5, 5), st.sampled_from("ab")), max_size=200))
    def test_no_address_gets_more_than_burst_plus_rate_times_time(self, asks):
        clock = Clock()
        limit = RateLimit(clock, rate=3, burst=5)
        passed = {"a": 0, "b": 0}
        elapsed = 0.0
        for wait, address in asks:
            clock.rightNow += wait
            elapsed += max(0.0, wait)
            passed[address] += limit.admits(address)
        self.assertLessEqual(max(passed.values()), 5 + 3 * elapsed + 1e-6)


class LoopbackHostTests(SynchronousTestCase):
    def test_this_machine_by_its_own_names_passes(self):
        for host in ("localhost", "LocalHost:8080", "127.0.0.1:8080", "127.5.5.5", "[::1]:8080", "[::1]", "localhost."):
            with self.subTest(host=host):
                loopback_host(Asked(Headers({"Host": [host]})))
        loopback_host(Asked())

    def test_another_name_is_a_rebound_one(self):
        for host in (
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "192.0.2.1",
            "",
        ):
            with self.subTest(host=host):
                self.assertRaises(Forbidden, loopback_host, Asked(Headers({"Host": [host]})))
