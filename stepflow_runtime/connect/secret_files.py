"""Files that hold a secret: tokens, keys, secrets of the configuration. Only their owner may read them."""

from __future__ import annotations

import stat
from pathlib import Path


def read_token(path: Path) -> str:
    """The token with which we introduce ourselves: the first word of a file.

    Raises:
        ValueError: It cannot be read or has none; the message says why.
    """
    words = read_secret_file(path, "token file").split()
    if not words:
        raise ValueError(f"The token file {path} is empty; write the token into it.")
    return words[0]


def read_secret_file(path: Path, what: str) -> str:
    """Reads a file that holds a secret.

    Raises:
        ValueError: It cannot be read, or others than its owner may.
    """
    try:
        status = path.stat()
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ValueError(f"The {what} {path} can be read or written by others; run: chmod 600 {path}")
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ValueError(f"The {what} {path} cannot be read: {why}.") from None
