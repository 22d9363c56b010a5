"""A file that is written whole or not at all."""

import os
import stat
import threading

import pytest

from k3net.export.files import write_whole


def test_a_new_file_has_the_modes_of_the_umask_and_an_old_one_keeps_its_own(tmp_path):
    path = tmp_path / "lan.json"
    before = os.umask(0o027)
    try:
        write_whole(str(path), "first")
    finally:
        os.umask(before)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("first", 0o640)
    path.chmod(0o604)
    write_whole(str(path), "second")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("second", 0o604)
    assert os.listdir(tmp_path) == ["lan.json"]


def test_a_link_stays_one(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_whole(str(tmp_path / "link"), "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_pipe_is_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()
    write_whole(str(tmp_path / "pipe"), "text")
    reader.join(5)
    assert read == ["text"]


def test_a_folder_and_a_disk_that_is_full_are_errors(tmp_path):
    wrong = {str(tmp_path): "directory", "/dev/full": "No space", str(tmp_path / "none" / "lan.json"): "No such file"}
    for path, reason in wrong.items():
        with pytest.raises(OSError, match=reason):
            write_whole(path, "text")
    assert os.listdir(tmp_path) == []


def test_text_that_cannot_be_written_leaves_what_was_there(tmp_path):
    path = tmp_path / "lan.json"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(str(path), "\udcff")
    assert (path.read_text(), os.listdir(tmp_path)) == ("old", ["lan.json"])
