"""Who can reach an address: what other machines can is listened on only with tokens and over TLS (FAULTS 35).

Pure. Both sides listen, and both ask here first.
"""

from __future__ import annotations

import ipaddress


def check_exposure(address: str, host: str, *, missing: list[str]) -> None:
    """Refuses an address that is open to more than it should be.

    Args:
        address: As it was written, for the message.
        host: Its name or number.
        missing: What protects it and was not given, as whoever configures it calls that.

    Raises:
        ValueError: Other machines can reach it, and something is missing.
    """
    if missing and not is_loopback(host):
        what, verb = " and ".join(missing), "are" if len(missing) > 1 else "is"
        raise ValueError(
            f'"{address}" can be reached from other machines, and {what} {verb} missing; configure it, '
            "or listen on 127.0.0.1."
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host. Of names only `localhost` is sure to be one."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
