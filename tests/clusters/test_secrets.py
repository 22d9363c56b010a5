"""Kubeconfigs sealed: bound to their cluster, by keys that can be changed, and nothing of them in any text."""

import os
from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3net.clusters.secrets import CannotOpen, KeyRing, NoKey, key_id, new_key
from k3net.credentials import BadSecret

KEY, OTHER = bytes(range(32)), bytes(32)


def key_file(path: Path, *lines: "str | bytes", mode: int = 0o600) -> str:
    path.write_text("\n".join(line if isinstance(line, str) else b64encode(line).decode() for line in lines))
    path.chmod(mode)
    return str(path)


def test_what_was_sealed_is_opened_for_the_same_cluster_only(tmp_path) -> None:
    ring = KeyRing([key_file(tmp_path / "k", KEY)])
    sealed = ring.seal("secret é", "c1", "u1")
    assert sealed.startswith(f"v1.{key_id(KEY)}.")
    assert "secret" not in sealed
    assert ring.open(sealed, "c1", "u1") == "secret é"
    assert ring.seal("secret é", "c1", "u1") != sealed
    for name, uid in (("c2", "u1"), ("c1", "u2"), ("c1u1", "")):
        with pytest.raises(CannotOpen, match="was changed, or belongs to another cluster"):
            ring.open(sealed, name, uid)


def test_the_first_key_seals_and_all_open(tmp_path) -> None:
    path = tmp_path / "k"
    ring = KeyRing([key_file(path, "# the old one", KEY)])
    old = ring.seal("x", "c1", "u1")
    key_file(path, OTHER, "", KEY)
    os.utime(path, (1, 1))
    assert ring.open(old, "c1", "u1") == "x"
    assert not ring.is_newest(old)
    assert ring.is_newest(ring.seal("x", "c1", "u1"))
    two = KeyRing([key_file(tmp_path / "a", OTHER), key_file(tmp_path / "b", KEY)])
    assert two.open(old, "c1", "u1") == "x"
    assert not two.is_newest(old)
    alone = KeyRing([key_file(tmp_path / "c", OTHER)])
    with pytest.raises(CannotOpen, match=f"sealed with key {key_id(KEY)}, which no file of clusters.key_files has"):
        alone.open(old, "c1", "u1")


def test_without_a_key_it_says_how_to_make_one(tmp_path) -> None:
    for paths in ([], [key_file(tmp_path / "empty", "# none")]):
        with pytest.raises(NoKey, match=r"head -c 32 /dev/urandom \| base64") as caught:
            KeyRing(paths).seal("x", "c1", "u1")
        assert caught.value.status == 503
    with pytest.raises(NoKey, match="No such file"):
        KeyRing([str(tmp_path / "missing")]).ready()


@pytest.mark.parametrize("line", ["nonsense", b"short", b"x" * 33, "====", b64encode(KEY).decode()[:-1]])
def test_a_line_that_is_no_key_is_named_and_not_quoted(tmp_path, line) -> None:
    path = key_file(tmp_path / "k", KEY, line)
    ring = KeyRing([path])
    with pytest.raises(NoKey) as caught:
        ring.seal("x", "c1", "u1")
    assert f"{path}: line 2: expected 32 bytes in base64" in str(caught.value)
    assert str(line) not in str(caught.value)
    with pytest.raises(BadSecret):
        ring.open(f"v1.{key_id(KEY)}.AAAA", "c1", "u1")


def test_a_new_key_is_one(tmp_path) -> None:
    ring = KeyRing([key_file(tmp_path / "k", new_key())])
    assert ring.open(ring.seal("x", "c1", "u1"), "c1", "u1") == "x"


def test_a_file_that_others_may_read_is_warned_of_once(tmp_path) -> None:
    said: list[str] = []
    path = key_file(tmp_path / "k", KEY, mode=0o604)
    for _ in range(2):
        KeyRing([path, key_file(tmp_path / "group", KEY, mode=0o440)], said.append).ready()
        said.append("-")
    assert len(said) == 4
    assert said[0] == f"{path}: holds keys, and others than its owner may use it (mode 604); chmod 600 it"


def test_nothing_shows_a_key(tmp_path) -> None:
    ring = KeyRing([key_file(tmp_path / "k", KEY)])
    ring.ready()
    assert b64encode(KEY).decode() not in repr(ring) + str(ring)


@given(st.text(max_size=80), st.integers(0, 200), st.integers(1, 127))
def test_a_text_that_was_tampered_with_does_not_open(tmp_path_factory, text, at, change) -> None:
    path = tmp_path_factory.mktemp("keys") / "k"
    ring = KeyRing([key_file(path, KEY)])
    with pytest.raises(CannotOpen):
        ring.open(text, "c1", "u1")
    sealed = bytearray(ring.seal("x" * 20, "c1", "u1").encode())
    at = at % len(sealed)
    sealed[at] = (sealed[at] + change) % 128
    tampered = sealed.decode()
    if tampered != ring.seal("x", "c1", "u1"):
        try:
            assert ring.open(tampered, "c1", "u1") == "x" * 20  # the last bits of base64 may say nothing
            assert at >= len(sealed) - 2
        except CannotOpen:
            pass
