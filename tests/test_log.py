"""What a log line looks like, also when what is logged is hostile."""

import io
import json
import re
import sys
import tempfile
from pathlib import Path

from twisted.logger import Logger, LogLevel, LogPublisher, globalLogPublisher
from twisted.python import log as legacy_log
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from k3net.log import observer, set_level

HOSTILE = [
    "n1\n2026-11-20T19:17:09+0000 [k3net.daemon.Daemon#info] forged",
    "n1\r2026-11-20T19:17:09+0000 [-] forged",
    "n1\r\nforged",
    "n1\x0bforged\x0cforged\x85forged",
    "n1\u2028forged\u2029forged",
    "\x1b[2J\x1b[31mred\x1b]0;title\x07",
    "\x00\x08\x7f\x9b31m",
    "\u202egpj.exe \u2066x",
    "{x} {} {0.__class__} %s %(x)s",
    '","level":"critical","message":"forged',
    "\ud800 lone",
    "名前 ✓",
]
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \[[^\]]*\] .*")


class LogTests(SynchronousTestCase):
    def setUp(self):
        self.addCleanup(set_level, "info")

    def lines(self, say, form="text", level="info"):
        """What is written while `say(logger)` runs, as a terminal or a reader splits it into lines."""
        path = Path(tempfile.mkdtemp(dir=self.mktemp_folder())) / "log"
        writes = observer(level, form, str(path))
        say(Logger(namespace="k3net.test", observer=LogPublisher(writes)))
        return path.read_bytes().decode("utf-8")

    def mktemp_folder(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return folder.name

    def test_a_text_line_has_time_source_level_and_message(self):
        text = self.lines(lambda log: log.info("node {name} is Ready", name="n1"))
        self.assertRegex(text, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \[k3net\.test#info\] node n1 is Ready\n$")

    def test_no_text_forges_a_line(self):
        for hostile in HOSTILE:
            text = self.lines(lambda log, hostile=hostile: log.emit(LogLevel.warn, "heard {name}", name=hostile))
            self.assertEqual(text[-1], "\n")
            self.assertEqual(text.splitlines(), [text[:-1]], f"more than one line from {hostile!r}")
            self.assertRegex(text, LINE)
            self.assertTrue(text[:-1].replace("✓", "").isprintable(), f"{text!r}")

    def test_what_is_harmless_is_written_as_it_is(self):
        for said in ("名前 ✓", "C:\\path 'quoted' \"twice\" {braces}", "a\tb"):
            text = self.lines(lambda log, said=said: log.info("{said}", said=said))
            self.assertEqual(text.partition("] ")[2], said.replace("\t", "\\t") + "\n")

    def test_a_traceback_is_indented_and_forges_no_line(self):
        def say(log):
            try:
                raise ValueError("odd\n2026-11-20T19:17:09+0000 [-] forged\r2026 \x1b[2J")
            except ValueError:
                log.failure("it {what}", what="broke\nforged")

        first, *rest = self.lines(say).splitlines()
        self.assertRegex(first, r"\[k3net\.test#critical\] it broke\\nforged$")
        self.assertTrue(all(line.startswith("\t") for line in rest), rest)
        self.assertIn("\tbuiltins.ValueError: odd", rest)
        self.assertTrue(any("Traceback" in line for line in rest))
        self.assertTrue(all(line[1:].isprintable() for line in rest), rest)

    def test_each_json_line_is_one_object(self):
        def say(log):
            for hostile in HOSTILE:
                log.emit(LogLevel.warn, "heard {name}", name=hostile)
            try:
                raise ValueError("two\nlines")
            except ValueError:
                log.failure("it broke", failure=Failure())

        text = self.lines(say, "json")
        rows = [json.loads(line) for line in text.splitlines()]
        self.assertEqual([row["message"] for row in rows[:-1]], [f"heard {hostile}" for hostile in HOSTILE])
        self.assertEqual({row["level"] for row in rows[:-1]}, {"warn"})
        self.assertEqual(rows[-1]["message"], "it broke")
        self.assertIn("ValueError: two\nlines", rows[-1]["traceback"])
        for row in rows:
            self.assertEqual(row["logger"], "k3net.test")
            self.assertRegex(row["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")

    def test_an_event_that_cannot_be_formatted_is_written_all_the_same(self):
        class Odd:
            def __repr__(self):
                raise ValueError("no")

        for form in ("text", "json"):
            text = self.lines(lambda log: (log.info("{odd!r} {missing}", odd=Odd()), log.info("after")), form)
            self.assertEqual(len(text.splitlines()), 2)
            self.assertIn("after", text)

    def test_levels_below_the_chosen_one_are_not_written(self):
        def say(log):
            for level in LogLevel.iterconstants():
                log.emit(level, "said")

        for level, said in (("debug", 5), ("trace", 5), ("info", 4), ("warn", 3), ("error", 2)):
            self.assertEqual(len(self.lines(say, level=level).splitlines()), said, level)

    def test_another_level_is_followed_by_the_observer_that_writes(self):
        path = Path(self.mktemp_folder()) / "log"
        writes = observer("info", "text", str(path))
        log = Logger(namespace="k3net.test", observer=LogPublisher(writes))
        for level in ("info", "debug", "warn"):
            set_level(level)
            log.debug("debug at {now}", now=level)
            log.info("info at {now}", now=level)
        said = [line.partition("] ")[2] for line in path.read_text().splitlines()]
        self.assertEqual(said, ["info at info", "debug at debug", "info at debug"])

    def test_requests_going_out_are_not_news(self):
        path = Path(self.mktemp_folder()) / "log"
        writes = observer("debug", "text", str(path))
        for namespace in ("twisted.web.client._HTTP11ClientFactory", "twisted.web.server"):
            log = Logger(namespace=namespace, observer=LogPublisher(writes))
            log.info("Starting factory")
            log.emit(LogLevel.warn, "It broke")
        told = [line.partition("] ")[2] for line in path.read_text().splitlines()]
        self.assertEqual(told, ["It broke", "Starting factory", "It broke"])

    def test_an_event_of_the_old_kind_is_a_line_too(self):
        heard = []
        globalLogPublisher.addObserver(heard.append)
        self.addCleanup(globalLogPublisher.removeObserver, heard.append)
        legacy_log.msg("Site starting\non 8080", system="-\nforged")
        event = heard[-1]
        path = Path(self.mktemp_folder()) / "log"
        observer("info", "text", str(path))(event)
        [line] = path.read_text().splitlines()
        self.assertIn("Site starting\\non 8080", line)

    def test_a_large_log_is_rotated_and_four_old_ones_kept(self):
        folder = Path(self.mktemp_folder())
        writes = observer("info", "json", str(folder / "log"))
        log = Logger(namespace="k3net.test", observer=LogPublisher(writes))
        for _ in range(220):
            log.info("{x}", x="x" * 2**20)
        names = sorted(path.name for path in folder.iterdir())
        self.assertEqual(names, ["log", "log.1", "log.2", "log.3", "log.4"])
        self.assertLess(max(path.stat().st_size for path in folder.iterdir()), 34 * 2**20)

    def test_a_console_of_few_letters_gets_what_it_can_show(self):
        console = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
        self.patch(sys, "stdout", console)
        log = Logger(namespace="k3net.test", observer=LogPublisher(observer("info", "text", "")))
        log.info("{name}", name="名前")
        self.assertIn(b"] \\u540d\\u524d\n", console.buffer.getvalue())
