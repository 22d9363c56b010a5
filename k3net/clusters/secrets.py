"""How a kubeconfig is kept: AES-256-GCM, bound to the name and uid of its cluster, by a ring of keys."""

import os
import re
import stat
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Callable, Sequence
from hashlib import sha256
from secrets import token_bytes

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from k3net.credentials import BadSecret, Followed
from k3net.errors import K3netError, Unavailable

KEY_BYTES = 32
MOST_KEYS = 100
_NONCE_BYTES = 12
_FORM = re.compile(r"v1\.([0-9a-f]{16})\.([A-Za-z0-9+/]+={0,2})")
_HOW = (
    "make one with `head -c 32 /dev/urandom | base64 > cluster.key && chmod 600 cluster.key`,"
    " and name that file in clusters.key_files on every instance"
)


class NoKey(Unavailable):
    """There is nothing to encrypt with, and a kubeconfig is not stored without."""


class CannotOpen(K3netError):
    """A sealed kubeconfig that no key of this instance opens; the text says which key, or what else is wrong."""


class KeyRing:
    """The keys in these files, read anew when these change: the first seals, each opens what it sealed.

    A file holds keys of 32 bytes in base64, one a line; `#` begins a comment. BadSecret names the file and line that
    is none. `warn` is told once of each file that others may read or write.
    """

    def __init__(self, paths: Sequence[str], warn: Callable[[str], None] = lambda text: None):
        self._paths = tuple(paths)
        self._warn = warn
        self._warned: set[str] = set()
        self._files = Followed(self._paths, self._read)

    def __repr__(self) -> str:
        return f"KeyRing({len(self._paths)} files)"

    @property
    def error(self) -> str:
        """What is wrong with the files, or ""."""
        try:
            self._keys()
        except BadSecret as error:
            return str(error)
        return ""

    def ready(self) -> None:
        """NoKey when a kubeconfig could not be sealed now."""
        self._first()

    def seal(self, text: str, name: str, uid: str) -> str:
        """The text encrypted for the cluster of this name and uid: `v1.<key id>.<base64>`; NoKey."""
        key_id, key = self._first()
        nonce = token_bytes(_NONCE_BYTES)
        sealed = AESGCM(key).encrypt(nonce, text.encode(), _bound_to(name, uid, key_id))
        return f"v1.{key_id}.{b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, name: str, uid: str) -> str:
        """What was sealed for this name and uid; CannotOpen, BadSecret."""
        form = _FORM.fullmatch(sealed)
        if form is None:
            raise CannotOpen("the stored kubeconfig is not in a form that this k3net knows")
        key = self._keys().get(form[1])
        if key is None:
            raise CannotOpen(f"the kubeconfig is sealed with key {form[1]}, which no file of clusters.key_files has")
        try:
            data = b64decode(form[2], validate=True)
            text = AESGCM(key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], _bound_to(name, uid, form[1]))
            return text.decode()
        except (InvalidTag, ValueError):
            raise CannotOpen("the stored kubeconfig was changed, or belongs to another cluster") from None

    def is_newest(self, sealed: str) -> bool:
        """Whether the first key sealed it."""
        form = _FORM.fullmatch(sealed)
        return form is not None and form[1] == self._first()[0]

    def _first(self) -> "tuple[str, bytes]":
        try:
            keys = self._keys()
        except BadSecret as error:
            raise NoKey(str(error)) from None
        if not keys:
            raise NoKey(f"clusters.key_files has no key, and no kubeconfig is stored in plain text: {_HOW}")
        return next(iter(keys.items()))

    def _keys(self) -> "dict[str, bytes]":
        return self._files.value()

    def _read(self, *contents: bytes) -> "dict[str, bytes]":
        keys: dict[str, bytes] = {}
        for path, content in zip(self._paths, contents, strict=True):
            for at, line in enumerate(content.splitlines(), 1):
                text = line.partition(b"#")[0].strip()
                if text:
                    key = _key(text, path, at)
                    keys.setdefault(key_id(key), key)
            self._check_mode(path)
        if len(keys) > MOST_KEYS:
            raise BadSecret(f"clusters.key_files: more than {MOST_KEYS} keys")
        return keys

    def _check_mode(self, path: str) -> None:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        if mode & (stat.S_IRWXO | stat.S_IWGRP) and path not in self._warned:
            self._warned.add(path)
            self._warn(f"{path}: holds keys, and others than its owner may use it (mode {mode:o}); chmod 600 it")


def key_id(key: bytes) -> str:
    """What a key is known by; says nothing about it."""
    return sha256(b"k3net cluster key id\0" + key).hexdigest()[:16]


def new_key() -> str:
    """A line for a key file."""
    return b64encode(token_bytes(KEY_BYTES)).decode()


def _key(text: bytes, path: str, at: int) -> bytes:
    try:
        key = b64decode(text, validate=True)
    except NotBase64:
        key = b""
    if len(key) != KEY_BYTES:
        raise BadSecret(f"{path}: line {at}: expected {KEY_BYTES} bytes in base64; {_HOW}")
    return key


def _bound_to(name: str, uid: str, key_id: str) -> bytes:
    return b"\0".join([b"k3net cluster v1", key_id.encode(), name.encode(), uid.encode()])
