"""TLS under a link: contexts from files, and `TlsStream`, which has the face of every `ByteStream`.

TLS 1.2 or newer, certificates always checked, and never plain text instead. With `ca` a listener asks its peers for a
certificate too (mTLS).
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

import trio
from msgspec import Struct

from protocol.streams import RECEIVE_BYTES, notice_lost_host


class TlsFiles(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where TLS finds what it needs; all of it PEM.

    Args:
        ca: Who signs the certificates of the other side. A client takes the system's authorities without it; a
            listener then asks its peers for no certificate.
        cert: Our certificate, with its chain. A listener needs it.
        key: Its private key; if absent, in the file of the certificate.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


def read_environment(environ: Mapping[str, str]) -> TlsFiles:
    """The files that STEPFLOW_TLS_CA, STEPFLOW_TLS_CERT and STEPFLOW_TLS_KEY name, as far as they are set."""
    ca, cert, key = (environ.get(f"STEPFLOW_TLS_{name}") for name in ("CA", "CERT", "KEY"))
    return TlsFiles(ca=Path(ca) if ca else None, cert=Path(cert) if cert else None, key=Path(key) if key else None)


def make_client_context(files: TlsFiles) -> ssl.SSLContext:
    """For who dials.

    Raises:
        ValueError: A file cannot be used.
    """
    with _Explained(files):
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=files.ca)
        if files.cert is not None:
            context.load_cert_chain(files.cert, files.key, _refuse_password)
    return context


def make_server_context(files: TlsFiles) -> ssl.SSLContext:
    """For who listens.

    Raises:
        ValueError: A file cannot be used, or there is no certificate.
    """
    if files.cert is None:
        raise ValueError("TLS needs a certificate to listen; give it a `cert` and a `key`.")
    with _Explained(files):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=files.ca)
        context.load_cert_chain(files.cert, files.key, _refuse_password)
        if files.ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
    return context


class _Explained:
    """Says which files TLS could not use."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, OSError):  # which ssl.SSLError is
            files = self._files
            named = ", ".join(str(path) for path in (files.ca, files.cert, files.key) if path is not None)
            raise ValueError(f"TLS cannot use its files ({named}): {error.strerror or error}.") from None


def _refuse_password() -> str:
    raise ssl.SSLError("the private key is encrypted; store it without a passphrase, readable by its owner only")


class TlsStream:
    """A stream over TLS, which it owns.

    Args:
        stream: Connected.
        context: Of our side.
        host: Whom the certificate of the other side must name, if we dialled.
    """

    def __init__(self, stream: trio.SocketStream, context: ssl.SSLContext, host: str | None = None) -> None:
        notice_lost_host(stream.socket)
        # A line that has no end is no message, so that an end of the stream without farewell tells no lie.
        self._stream = trio.SSLStream(
            stream, context, server_hostname=host, server_side=host is None, https_compatible=True
        )

    async def shake_hands(self) -> None:
        """Checks who the other side is.

        Raises:
            OSError: It is not whom we trust, or speaks no TLS.
        """
        try:
            await self._stream.do_handshake()
        except trio.BrokenResourceError as error:
            raise ConnectionError(f"no TLS connection came about ({_describe(error)})") from error

    async def receive_some(self) -> bytes:
        """The next bytes; see `ByteStream`."""
        return bytes(await self._stream.receive_some(RECEIVE_BYTES))

    def send_nowait(self, data: bytes | memoryview) -> int:
        """Nothing: what is encrypted has to be sent to its end, and that may wait."""
        return 0

    async def wait_send_all(self, data: bytes | memoryview) -> None:
        """Sends all; see `ByteStream`."""
        await self._stream.send_all(data)

    async def aclose(self) -> None:
        """Closes it; see `ByteStream`."""
        await self._stream.aclose()


async def open_tls_stream(host: str, port: int, context: ssl.SSLContext) -> TlsStream:
    """Dials a TCP port and agrees on TLS.

    Raises:
        OSError: If nobody answers, or somebody whom we do not trust.
    """
    tcp = await trio.open_tcp_stream(host, port)
    stream = TlsStream(tcp, context, host)
    try:
        await stream.shake_hands()
    except BaseException:
        await trio.aclose_forcefully(tcp)
        raise
    return stream


def _describe(error: BaseException) -> str:
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return cause.verify_message
    return getattr(cause, "reason", None) or str(cause or "the other side hung up")
