"""The command line of `twistd k3net`, and what is true before the reactor runs."""

import io
import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

from k3net.tap import Options


class OptionsTests(SynchronousTestCase):
    def setUp(self):
        self.error = io.StringIO()
        self.patch(sys, "__stderr__", self.error)
        ours = [name for name in os.environ if name.startswith("K3NET_") or name in ("CONFIG_PATH", "NODE_NAME")]
        self.patch(os, "environ", {name: value for name, value in os.environ.items() if name not in ours})

    def settings(self, *words):
        options = Options()
        options.parseOptions(words)
        return options.loaded.settings

    def file(self, text):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = Path(folder.name) / "k3net.yaml"
        path.write_text(text)
        return str(path)

    def test_the_defaults_are_those_of_the_contract(self):
        settings = self.settings("--node-name=n1")
        self.assertEqual(
            (settings.listen, settings.mdns.service, settings.mdns.domain), (":7946", "_k3._tcp", "local.")
        )
        self.assertEqual((settings.liveness.peer_ttl, settings.node.register_self), (90.0, True))
        self.assertEqual((settings.liveness.probe_interval, settings.liveness.probe_timeout), (15.0, 0.7))
        self.assertEqual((settings.node.heartbeat, settings.storage.type), (30.0, "sqlite"))

    def test_every_flag_of_the_contract_sets_its_setting(self):
        settings = self.settings(
            "--listen=127.0.0.1:0",
            "--service=_other._tcp",
            "--domain",
            "example.",
            "--node-name",
            "n1",
            "--peer-ttl",
            "1m30s",
            "--register-self=false",
        )
        self.assertEqual(
            (settings.listen, settings.mdns.service, settings.mdns.domain), ("127.0.0.1:0", "_other._tcp", "example.")
        )
        self.assertEqual((settings.node.name, settings.liveness.peer_ttl), ("n1", 90.0))
        self.assertIs(settings.node.register_self, False)

    def test_register_self_alone_means_true_also_before_other_flags(self):
        path = self.file("node: {register_self: false}")
        for words in (["--register-self"], ["--register-self", "--peer-ttl", "250ms"], ["--register-self=true"]):
            self.assertIs(self.settings("--config", path, *words).node.register_self, True, words)
        self.assertIs(self.settings("--config", path).node.register_self, False)

    def test_a_flag_wins_over_a_variable_and_a_variable_over_the_file(self):
        os.environ["CONFIG_PATH"] = self.file("{node: {name: of-file}, liveness: {peer_ttl: 10s}}")
        self.assertEqual(self.settings().node.name, "of-file")
        os.environ["NODE_NAME"] = "of-variable"
        self.assertEqual(self.settings().node.name, "of-variable")
        self.assertEqual(self.settings("--node-name=of-flag").node.name, "of-flag")
        self.assertEqual(self.settings("--config", self.file("debug: true")).liveness.peer_ttl, 90.0)

    def test_a_warning_is_a_line_and_no_end(self):
        self.settings("--config", self.file("{jwt: {secret: x}, node: {name: n1}}"))
        [line] = self.error.getvalue().splitlines()
        self.assertRegex(line, r"^k3net: .*: not for k3net, ignored: jwt$")

    def test_what_is_wrong_is_one_line_and_status_2(self):
        for words in (["--peer-ttl=soon"], ["--what"], ["word"], ["--config=/gone"], ["--service="], ["--listen=x"]):
            self.error.seek(self.error.truncate(0))
            error = self.assertRaises(SystemExit, self.settings, *words)
            self.assertEqual(error.code, 2)
            self.assertEqual(len(self.error.getvalue().splitlines()), 1, words)

    def test_settings_are_read_anew_with_the_same_flags(self):
        path = self.file("{node: {name: n1}, liveness: {peer_ttl: 10s}}")
        options = Options()
        options.parseOptions(["--config", path, "--node-name", "of-flag"])
        Path(path).write_text("{node: {name: n2}, liveness: {peer_ttl: 20s}}")
        again = options.load().settings
        self.assertEqual((again.node.name, again.liveness.peer_ttl), ("of-flag", 20.0))


class PluginTests(SynchronousTestCase):
    def test_twistd_knows_the_command(self):
        [plugin] = [plugin for plugin in getPlugins(IServiceMaker) if plugin.tapname == "k3net"]
        self.assertEqual(plugin.module, "k3net.tap")


class ClockTests(SynchronousTestCase):
    def test_time_is_monotonic_before_the_first_timer(self):
        script = """
            import time
            from twisted.internet import reactor
            from k3net.tap import Options, makeService

            options = Options()
            options.parseOptions(["--listen=127.0.0.1:0", "--node-name=n1"])
            timers, call_later = [], reactor.callLater

            def called(*args, **kw):
                timers.append(reactor.seconds is time.monotonic)
                return call_later(*args, **kw)

            reactor.callLater = called
            root = makeService(options)
            root.startService()
            assert timers and all(timers), timers
            timer = reactor.getDelayedCalls()[0]
            assert abs(timer.getTime() - time.monotonic()) < 3600
            print("monotonic")
        """
        env = os.environ | {
            "K3NET_API_LISTEN": "127.0.0.1:0",
            "K3NET_MDNS_ENABLED": "false",
            "K3NET_STORAGE_TYPE": "memory",
        }
        ended = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)], env=env, capture_output=True, timeout=20
        )
        self.assertEqual((ended.stdout, ended.returncode), (b"monotonic\n", 0), ended.stderr)
