"""A file that is written whole or not at all."""

import contextlib
import os
import secrets
import stat

_MODE = 0o666


def write_whole(path: str, text: str) -> None:
    """Put `text` into `path`: until it is all on the disk, readers find what was there; OSError leaves it as it was.

    A link is followed; what is no regular file (a pipe, /dev/stdout) is written to as it is.
    """
    path = os.path.realpath(path) if os.path.islink(path) and os.path.isfile(path) else path
    mode = None
    with contextlib.suppress(FileNotFoundError):
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(21, "is a directory", path)
        if not stat.S_ISREG(mode):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            return
    beside = os.path.join(os.path.dirname(path), f".{os.path.basename(path)[:100]}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            if mode is not None:
                os.fchmod(descriptor, stat.S_IMODE(mode))
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
