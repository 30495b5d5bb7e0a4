"""Secrets as handles: a token stands for the value everywhere, and the value is put in its place on the wire only.

A run's secret variables are such tokens, JSON strings that nobody can guess. Expressions pass them on like any other
value; they are what is stored, shown and handed to sub-runs. Pure: where values come from is the business of a
`ports.SecretSource`, and when they are asked for that of `connect.server`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

_ODD: Final = re.compile(r"[^A-Za-z0-9_.-]")


class SecretReference(Struct, frozen=True, array_like=True):
    """What a token stands for.

    Args:
        name: Of the variable.
        env_var: The environment variable that the flow names for it, if that may be read.
        is_text: Whether the value is a string as it stands; else it is read as JSON.
    """

    name: str
    env_var: str | None = None
    is_text: bool = True


Secrets = Mapping[str, SecretReference]
"""By token."""

NO_SECRETS: Final[Secrets] = {}


class SecretMissing(Exception):
    """A secret has no value now; the message says which."""


def make_token(name: str, unguessable: str) -> str:
    """A token for a variable: plain ASCII, so that it is written in one way only."""
    return f"$secret:{_ODD.sub('_', name)}:{unguessable}"


def quote(token: str) -> bytes:
    """The token as JSON."""
    return b'"%b"' % token.encode()


def fill_in(value: bytes, secrets: Secrets, find: Callable[[SecretReference], bytes | None]) -> bytes:
    """Puts the values in the place of their tokens.

    Args:
        value: Raw JSON.
        secrets: The tokens that mean something in this run; others stay as they are.
        find: Gives the value of a secret, raw JSON.

    Raises:
        SecretMissing: A secret that is needed has no value.
    """
    for token, reference in secrets.items():
        quoted = quote(token)
        if quoted in value:
            found = find(reference)
            if found is None:
                raise SecretMissing(
                    f"The secret variable {reference.name!r} has no value in this runtime any more; set it again."
                )
            value = value.replace(quoted, found)
    return value
