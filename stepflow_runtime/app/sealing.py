"""Keeps secrets that must be stored unreadable in the store: sealed with a key that lies in a file beside it.

Who has a copy of the database alone, a backup for instance, has no secret. The key is made when it is first needed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from stepflow_runtime.connect.secret_files import read_secret_file

if TYPE_CHECKING:
    from cryptography.fernet import Fernet


class KeyFileSealer:
    """Implements `ports.Sealer`, with Fernet (AES-128 and HMAC-SHA256).

    Args:
        path: The file with the key, alone in its first line; `None` for a key that ends with the process.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._key: bytes | None = None
        self._fernet: Fernet | None = None

    def seal(self, secret: bytes) -> str:
        return self._open().encrypt(secret).decode()

    def unseal(self, sealed: str) -> bytes:
        from cryptography.fernet import InvalidToken

        try:
            return self._open().decrypt(sealed.encode())
        except InvalidToken:
            place = f"with the key in {self._path}" if self._path else "by this process"
            raise ValueError(f"a secret was not sealed {place}; put that file back, or register anew") from None

    def derive_key(self, purpose: str) -> bytes:
        """A key for something else, which tells nothing of this one.

        Args:
            purpose: What it is for; another purpose has another key.
        """
        return blake3(self._find_key(), derive_key_context=f"stepflow-runtime {purpose}").digest()

    def _open(self) -> Fernet:
        from cryptography.fernet import Fernet

        if self._fernet is None:
            self._fernet = Fernet(self._find_key())
        return self._fernet

    def _find_key(self) -> bytes:
        from cryptography.fernet import Fernet

        if self._key is None:
            self._key = Fernet.generate_key() if self._path is None else _read_or_make(self._path)
        return self._key


def _read_or_make(path: Path) -> bytes:
    from cryptography.fernet import Fernet

    if not path.exists():
        _write_whole(path, Fernet.generate_key() + b"\n")
    return read_secret_file(path, "key file").strip().encode()


def _write_whole(path: Path, content: bytes) -> None:
    """Makes a file that only its owner may read. It is there with all its content, or not at all."""
    part = path.with_name(path.name + ".part")
    descriptor = os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    part.rename(path)
