"""The image without an engine: its steps run in a clean folder, and its files say what they are to say."""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from k3net import __version__
from k3net.config import load
from k3net.config.load import config_path
from k3net.tap import Options

ROOT = Path(__file__).parent.parent
DOCKERFILE = ROOT / "deploy/docker/Dockerfile"
COMPOSE = ROOT / "deploy/docker-compose.discovery.yaml"
STEPS = ROOT / "deploy/docker/build"


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", "", re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE))
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in text.splitlines() if line.strip()]


def of(kind: str) -> list[str]:
    return [rest for name, rest in instructions() if name == kind]


def copied(folder: Path) -> Path:
    """What `COPY . /src` takes, by the rules of the ignore file: all is out but for what `!` names."""
    rules = (ROOT / "deploy/docker/Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in rules
    for name in (rule[1:] for rule in rules if rule.startswith("!")):
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", "dropin.cache"))
        else:
            shutil.copy(source, target)
    return folder


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The venv that the image's first stage makes, made read-only."""
    folder = tmp_path_factory.mktemp("image")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "K3NET_"))}
    done = subprocess.run(
        [copied(folder / "src") / "deploy/docker/build", folder / "src", folder / "k3net"],
        env={**environment, "PYTHON": sys.executable},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "k3net"


def test_the_steps_install_a_daemon_and_leave_nothing_to_be_written(installed: Path, tmp_path: Path) -> None:
    caches = list(installed.rglob("dropin.cache"))
    assert caches
    assert any(b"k3net" in cache.read_bytes() for cache in caches)
    assert list(installed.rglob("k3net/__pycache__/tap*.pyc"))
    assert not list(installed.rglob("site-packages/pip"))

    def tree() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in installed.rglob("*") if not path.is_symlink()}

    before = tree()
    (tmp_path / "home").mkdir()
    done = subprocess.run(
        [installed / "bin/twistd", "-n", "k3net", "--help"],
        env={"PATH": f"{installed}/bin:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path / "home",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "--consul-addr" in done.stdout
    assert "dropin" not in done.stderr
    assert tree() == before


def test_there_are_two_stages_of_one_pinned_base_and_the_second_takes_what_the_steps_made() -> None:
    first, second = of("FROM")
    assert first == f"{second} AS build"
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", second)
    assert of("RUN")[0] == "/src/deploy/docker/build /src /opt/k3net"
    assert "--from=build /opt/k3net /opt/k3net" in of("COPY")


def test_it_does_not_run_as_root_and_looks_after_its_health() -> None:
    [user] = of("USER")
    assert int(user.split(":")[0]) > 0
    [health] = of("HEALTHCHECK")
    assert "/healthz" in health
    assert of("ENTRYPOINT") == ['["twistd", "-n", "k3net"]']


def test_the_health_check_asks_healthz() -> None:
    [health] = of("HEALTHCHECK")
    program = yaml.safe_load(health.partition("CMD ")[2])[2]
    from cli.fixture_api import FixtureApi

    with FixtureApi({"/healthz": {}}) as api:
        for url, code in ((f"{api.url}/healthz", 0), (f"{api.url}/nothing", 1)):
            done = subprocess.run([sys.executable, "-c", program], env={"HEALTH_URL": url}, capture_output=True)
            assert done.returncode == code


def test_the_steps_can_be_run() -> None:
    assert STEPS.stat().st_mode & stat.S_IXUSR
    assert subprocess.run(["sh", "-n", STEPS]).returncode == 0


def test_each_service_is_pinned_and_checked() -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    assert set(services) == {"consul", "etcd", "discovery"}
    for name, service in services.items():
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), name
        assert name == "discovery" or service["healthcheck"]["test"]
    discovery = services["discovery"]
    assert discovery["image"].endswith(f":{__version__}")
    assert {need["condition"] for need in discovery["depends_on"].values()} == {"service_healthy"}
    assert discovery["read_only"] is True
    assert (COMPOSE.parent / discovery["build"]["context"] / discovery["build"]["dockerfile"]).resolve() == DOCKERFILE


def test_the_daemon_understands_what_the_compose_file_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    discovery = yaml.safe_load(COMPOSE.read_text())["services"]["discovery"]
    mounts = dict(volume.split(":")[:2][::-1] for volume in discovery["volumes"])
    file = (COMPOSE.parent / mounts["/etc/k3net/k3net.yaml"]).resolve()
    words = [str(file) if word == "/etc/k3net/k3net.yaml" else word for word in discovery["command"]]
    for name, value in discovery["environment"].items():
        monkeypatch.setenv(name, str(value))
    options = Options()
    options.parseOptions(words)
    settings = options.loaded.settings
    assert (settings.node.name, settings.consul.addr.url) == ("node-1", "http://consul:8500")
    assert (settings.storage.type, settings.storage.etcd.endpoints) == ("etcd", ("http://etcd:2379",))
    assert (settings.consul.enabled, settings.mdns.enabled, settings.listen) == (True, False, ":7946")
    assert config_path(None, {"CONFIG_PATH": str(file)}) == str(file)
    assert load(str(file), {}, {"node_name": "n"}).warnings == ()


@pytest.mark.skipif(
    shutil.which("docker") is None
    or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode != 0,
    reason="needs docker compose",
)
def test_compose_reads_the_file() -> None:
    done = subprocess.run(["docker", "compose", "-f", COMPOSE, "config", "-q"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
