"""Files of tokens, as each of their readers has them."""

import os
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from k3net.web.token_files import TokenFiles, shown


def words(line):
    token, *rest = line.split() or [b""]
    if b"bad" in rest:
        raise ValueError("no such word")
    return token, rest


class TokenFilesTests(SynchronousTestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.folder = Path(directory.name)
        self.clock = Clock()

    def files(self, *texts, **how):
        self.paths = [self.folder / str(number) for number in range(len(texts))]
        for path, text in zip(self.paths, texts, strict=True):
            path.write_bytes(text)
        return TokenFiles(self.clock, [str(path) for path in self.paths], words, **how)

    def test_a_token_stands_for_what_its_line_says_in_each_file_in_their_order(self):
        files = self.files(b"alpha one\nbeta\n", b"gamma\nalpha two three\n")
        self.assertEqual(files.meanings(b"alpha"), [[b"one"], [b"two", b"three"]])
        self.assertEqual((files.meanings(b"beta"), files.meanings(b"delta"), files.meanings(b"")), ([[]], [], []))

    def test_one_bad_line_makes_its_file_worthless_and_is_named(self):
        files = self.files(b"alpha\nbeta bad\n", b"gamma\n")
        self.assertEqual((files.meanings(b"alpha"), files.meanings(b"gamma")), ([], [[]]))
        self.assertEqual(files.error, f"{self.paths[0]}: line 2: no such word")

    def test_a_file_that_is_wrong_is_one_line_of_the_log_and_another_when_it_is_wrong_again(self):
        files = self.files(b"alpha\n")
        lines = []
        for text in (None, b"beta\n", b"beta bad\n"):
            with capturedLogs() as events:
                if text is None:
                    self.paths[0].unlink()
                else:
                    self.paths[0].write_bytes(text)
                for _ in range(3):
                    self.clock.advance(1.0)
                    files.meanings(b"alpha")
            lines.append([formatEvent(event) for event in events])
        missing, fine, bad = lines
        self.assertEqual((len(missing), fine), (1, []))
        self.assertIn(f"nobody in: {self.paths[0]}: No such file", missing[0])
        self.assertEqual(bad, [f"its tokens let nobody in: {self.paths[0]}: line 1: no such word"])

    def test_no_error_quotes_a_token(self):
        for text in (b"s3cret bad\n", b"s3cret\nother bad\n", b"\n"):
            self.assertNotIn("s3cret", self.files(text).error)

    def test_a_file_is_read_once_until_it_changes(self):
        read = []

        def counted(line):
            read.append(line)
            return words(line)

        path = self.folder / "tokens"
        path.write_bytes(b"alpha\n")
        files = TokenFiles(self.clock, [str(path)], counted, every=0.0)
        for _ in range(5):
            self.assertEqual(files.meanings(b"alpha"), [[]])
        self.assertEqual(len(read), 1)
        path.write_bytes(b"beta\n")
        os.utime(path, ns=(1, 1))
        self.assertEqual((files.meanings(b"alpha"), files.meanings(b"beta"), len(read)), ([], [[]], 2))

    def test_between_two_looks_nothing_is_asked_of_the_disk(self):
        files = self.files(b"alpha\n", every=1.0)
        self.assertEqual(files.meanings(b"alpha"), [[]])
        self.paths[0].unlink()
        self.clock.advance(0.5)
        self.assertEqual(files.meanings(b"alpha"), [[]])
        self.clock.advance(0.5)
        self.assertEqual((files.meanings(b"alpha"), "No such file" in files.error), ([], True))

    @given(st.binary(max_size=200))
    def test_any_file_is_read_or_told(self, contents):
        files = self.files(contents)
        told = bool(files.error)
        for line in contents.splitlines():
            if line.split():
                self.assertNotEqual(bool(files.meanings(line.split()[0])), told)


class ShownTests(SynchronousTestCase):
    def test_a_bearer_token_is_shown_and_nothing_else_is(self):
        for header, token in (
            ("Bearer abc", b"abc"),
            ("bEARER  abc ", b"abc"),
            ("Bearer", b""),
            ("Basic abc", None),
            ("abc", None),
            (None, None),
        ):
            request = type("Asked", (), {"requestHeaders": Headers({"Authorization": [header]} if header else {})})
            self.assertEqual(shown(request), token, header)
