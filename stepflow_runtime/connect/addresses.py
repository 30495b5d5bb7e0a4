"""The addresses that a runtime listens on: how they are written, and which may be used unprotected. Pure."""

from __future__ import annotations

from protocol.exposure import check_exposure


def parse_address(address: str) -> tuple[str, int] | str:
    """Reads `host:port`, with IPv6 hosts in brackets, or `unix:/path`.

    Raises:
        ValueError: It cannot be read.
    """
    if address.startswith("unix:/"):
        return address.removeprefix("unix:")
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f'The address "{address}" cannot be read; write it like "127.0.0.1:7837" or "unix:/path".')
    return host, int(port)


def check_protection(address: str, *, has_tokens: bool, has_tls: bool) -> None:
    """Refuses an address that is open to more than it should be.

    Raises:
        ValueError: Other machines can reach it and tokens or TLS are missing; or it cannot be read.
    """
    parsed = parse_address(address)
    if not isinstance(parsed, str):
        protections = (("tokenFile", has_tokens), ("tls", has_tls))
        check_exposure(address, parsed[0], missing=[f"`listen.{name}`" for name, given in protections if not given])
