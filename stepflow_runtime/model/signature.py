"""Signatures of webhook deliveries, after Standard Webhooks: HMAC-SHA256 over id, time and body, with a shared secret.

Source: https://www.standardwebhooks.com
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32
"""Of one that the runtime makes."""

MIN_SECRET_BYTES: Final = 24
MAX_SECRET_BYTES: Final = 64


def write_secret(secret: bytes) -> str:
    """A secret as people and receivers see it."""
    return PREFIX + base64.b64encode(secret).decode()


def read_secret(text: str) -> bytes:
    """The secret that is written like this.

    Raises:
        ValueError: It is none; the message does not repeat it.
    """
    sizes = f"{MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes"
    message = f"a secret is {PREFIX} and the base64 of {sizes}; leave it out to get one"
    if not text.startswith(PREFIX):
        raise ValueError(message)
    try:
        secret = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(message) from None
    if not MIN_SECRET_BYTES <= len(secret) <= MAX_SECRET_BYTES:
        raise ValueError(message)
    return secret


def sign(secret: bytes, message_id: str, at_s: int, body: bytes) -> str:
    """The value of `webhook-signature`.

    Args:
        secret: Shared with the receiver.
        message_id: The value of `webhook-id`.
        at_s: That of `webhook-timestamp`: seconds since the epoch.
        body: As it is sent.
    """
    digest = hmac.digest(secret, b"%b.%d.%b" % (message_id.encode(), at_s, body), hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"
