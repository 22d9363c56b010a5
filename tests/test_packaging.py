"""Wheel, sdist and editable install: what they hold, and that each works from another directory."""

import os
import re
import shutil
import subprocess
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOT_SOURCE = shutil.ignore_patterns(
    ".git", ".venv", "var", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", "tests"
)
PLUGINS = sorted(f"twisted/plugins/{path.name}" for path in (ROOT / "twisted/plugins").glob("*.py"))


def run(*argv: object, cwd: Path) -> str:
    """Its output; an AssertionError that shows it when it fails."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "K3NET_"))}
    done = subprocess.run([str(a) for a in argv], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `tools` (a venv that can build) and `source` (the tree, with what a dirty tree has in it)."""
    folder = tmp_path_factory.mktemp("packaging")
    venv.create(folder / "tools", with_pip=True)
    python = folder / "tools/bin/python"
    run(
        python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "build", "setuptools", "wheel", cwd=folder
    )
    shutil.copytree(ROOT, folder / "source", ignore=NOT_SOURCE)
    ghost = folder / "source/build/lib/k3net/ghost.py"
    ghost.parent.mkdir(parents=True)
    ghost.write_text("gone = 'deleted long ago'\n")
    (folder / "source/tests").mkdir()
    (folder / "source/tests/test_ghost.py").write_text("")
    return folder


@pytest.fixture(scope="module")
def built(workshop: Path) -> Path:
    """The folder with the sdist and the wheel that was built from it."""
    run(
        workshop / "tools/bin/python",
        "-m",
        "build",
        "--no-isolation",
        "--outdir",
        workshop / "dist",
        cwd=workshop / "source",
    )
    return workshop / "dist"


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A new venv that sees the dependencies of this one, but not the k3net that is installed in it."""
    venv.create(tmp_path / "fresh", with_pip=False)
    [packages] = (tmp_path / "fresh/lib").glob("python*/site-packages")
    # A path in a .pth file is searched, but the .pth files found there (the editable install's) are not read.
    packages.joinpath("dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return tmp_path / "fresh"


def install(workshop: Path, fresh: Path, *what: object) -> None:
    pip = [workshop / "tools/bin/python", "-m", "pip", "--python", fresh / "bin/python", "install", "-qq"]
    run(*pip, "--disable-pip-version-check", "--no-deps", "--force-reinstall", *what, cwd=fresh)


def assert_works(fresh: Path, home: Path) -> None:
    """`home` holds the k3net that is found, and twistd knows every command of ours, from another directory."""
    elsewhere = fresh / "elsewhere"
    elsewhere.mkdir()
    python = fresh / "bin/python"
    found = run(python, "-c", "import k3net; print(k3net.__file__)", cwd=elsewhere).strip()
    assert Path(found).resolve() == (home / "k3net/__init__.py").resolve()
    twistd = [python, "-c", "from twisted.scripts.twistd import run; run()"]
    commands = re.findall(r"^ {4}(k3net\S*)", run(*twistd, "--help", cwd=elsewhere), re.MULTILINE)
    assert sorted(commands) == sorted(Path(name).stem.removesuffix("_plugin").replace("_", "-") for name in PLUGINS)
    assert "--node-name" in run(*twistd, "k3net", "--help", cwd=elsewhere)
    version = run(python, "-c", "import k3net; print(k3net.__version__)", cwd=elsewhere).strip()
    assert version in run(fresh / "bin/k3net", "version", cwd=elsewhere)


def test_the_wheel_holds_the_code_and_nothing_else(workshop, built):
    [wheel] = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    source = workshop / "source"
    ours = {str(path.relative_to(source)) for path in (source / "k3net").rglob("*") if path.is_file()}
    assert {name for name in names if ".dist-info/" not in name} == ours | set(PLUGINS)


def test_the_sdist_holds_what_a_build_needs_and_no_litter(built):
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE", "etc/k3net.yaml", "etc/k3net.service"}
    assert (needed | set(PLUGINS)) - names == set()
    assert [name for name in names if name.startswith(("build", "tests", ".")) or "__pycache__" in name] == []


def test_the_wheel_works_where_it_is_installed(workshop, built, fresh):
    install(workshop, fresh, *built.glob("*.whl"))
    [packages] = (fresh / "lib").glob("python*/site-packages")
    assert_works(fresh, packages)


def test_the_sdist_works_where_it_is_installed(workshop, built, fresh):
    install(workshop, fresh, *built.glob("*.tar.gz"))
    [packages] = (fresh / "lib").glob("python*/site-packages")
    assert_works(fresh, packages)


def test_the_editable_install_works_from_elsewhere(workshop, fresh):
    install(workshop, fresh, "--editable", workshop / "source")
    assert_works(fresh, workshop / "source")
