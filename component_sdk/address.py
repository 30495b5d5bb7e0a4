"""Addresses as people write them: `127.0.0.1:7837`, `[::1]:7837`, `tcp://…`, `tls://host:port`, `unix:/path`."""

from __future__ import annotations

import os
from pathlib import Path

from component_sdk.errors import CannotConnectError, SdkError
from protocol.exposure import check_exposure
from protocol.streams import ByteStream, open_tcp_stream, open_unix_stream

DEFAULT_ADDRESS = "127.0.0.1:7837"


def split_address(address: str) -> tuple[str, int]:
    """Host and port.

    Raises:
        SdkError: It is not `HOST:PORT`.
    """
    host, _, port = address.removeprefix("tcp://").removeprefix("tls://").rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise SdkError(f"{address!r} is not an address; write HOST:PORT, e.g. {DEFAULT_ADDRESS}.")
    return host.strip("[]"), int(port)


async def dial(address: str) -> ByteStream:
    """Open a connection.

    Args:
        address: As above. For `tls://`, the environment's STEPFLOW_TLS_CA says whom to trust instead of the system's
            authorities, and STEPFLOW_TLS_CERT and STEPFLOW_TLS_KEY who we are.

    Raises:
        CannotConnectError: Nobody answers there, or somebody who is not trusted.
    """
    try:
        if address.startswith("tls://"):
            from protocol.tls import make_client_context, open_tls_stream, read_environment

            try:
                context = make_client_context(read_environment(os.environ))
            except ValueError as error:
                raise SdkError(str(error)) from None
            return await open_tls_stream(*split_address(address), context)
        if address.startswith("unix:"):
            return await open_unix_stream(address.removeprefix("unix:"))
        return await open_tcp_stream(*split_address(address))
    except OSError as error:
        raise CannotConnectError(
            f"Nobody answers at {address} ({error.strerror or error}); is `stepflow serve` running there?"
        ) from None


def check_protection(address: str, host: str, *, token: str | None, certificate: os.PathLike[str] | None) -> None:
    """Refuses to listen where other machines can connect, without a token to ask for or without TLS.

    Raises:
        SdkError: The message says what is missing.
    """
    options = (("--token-file", token), ("--tls-cert", certificate))
    try:
        check_exposure(address, host, missing=[option for option, given in options if given is None])
    except ValueError as error:
        raise SdkError(str(error)) from None


def read_token(token_file: str | os.PathLike[str] | None) -> str | None:
    """The token in a file, its first word; of none, that in the file that STEPFLOW_TOKEN_FILE names, if it is set.

    Raises:
        SdkError: The file cannot be read.
    """
    path = token_file or os.environ.get("STEPFLOW_TOKEN_FILE")
    if not path:
        return None
    try:
        words = Path(path).read_text().split()
    except OSError as error:
        raise SdkError(f"The token file {path} cannot be read: {error.strerror}.") from error
    if not words:
        raise SdkError(f"The token file {path} is empty; write the token into it.")
    return words[0]
