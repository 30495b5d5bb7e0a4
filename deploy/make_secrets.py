"""Makes what a runtime that others reach needs: a certificate and tokens, once; what is there already stays.

python make_secrets.py FOLDER NAME...     NAME: what the runtime is called by who dials it, such as a host name

    ca.pem             who signs: give it to all who dial (STEPFLOW_TLS_CA)
    runtime.pem .key   the runtime's certificate, for ten years, and its key
    tokens             the runtime's token file
    client.token       to sign in at the console, and for `stepflow` (STEPFLOW_TOKEN_FILE)
    server.token       for the component server `orders`
    prometheus.token   for who only reads
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

VALID: Final = timedelta(days=3650)
PRIVATE, PUBLIC = 0o600, 0o644
TOKENS: Final = {
    "client.token": ("", PRIVATE),
    "server.token": ("role=server name=orders", PRIVATE),
    "prometheus.token": ("role=read-only", PUBLIC),  # Prometheus runs as another user of the same machine
}


def make_secrets(folder: Path, names: Sequence[str]) -> bool:
    """Makes all of it.

    Args:
        folder: Where it lies; only its owner can write there.
        names: What the certificate is for: host names or addresses.

    Returns:
        Whether there was nothing yet.
    """
    if (folder / "tokens").exists():  # it is written last
        return False
    folder.mkdir(parents=True, exist_ok=True)
    _make_certificates(folder, names)
    lines: list[str] = []
    for name, (role, mode) in TOKENS.items():
        token = secrets.token_hex(32)
        lines.append(f"{token} {role}".rstrip())
        _write(folder / name, token.encode(), mode)
    _write(folder / "tokens", "\n".join([*lines, ""]).encode(), PRIVATE)
    return True


def _make_certificates(folder: Path, names: Sequence[str]) -> None:
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Stepflow: made on this machine")])
    begins = datetime.now(UTC) - timedelta(minutes=5)  # clocks differ

    def build(subject: x509.Name, public_key: ec.EllipticCurvePublicKey, is_authority: bool) -> x509.CertificateBuilder:
        basic = x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(begins + VALID)
            .add_extension(basic, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
        )

    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    ca = build(authority, authority_key.public_key(), True).add_extension(usage, critical=True)
    own = build(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])]), key.public_key(), False)
    own = own.add_extension(x509.SubjectAlternativeName([_read_name(name) for name in names]), critical=False)
    for file, certificate in (("ca.pem", ca), ("runtime.pem", own)):
        signed = certificate.sign(authority_key, hashes.SHA256())
        _write(folder / file, signed.public_bytes(serialization.Encoding.PEM), PUBLIC)
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    _write(folder / "runtime.key", key.private_bytes(pem, pkcs8, serialization.NoEncryption()), PRIVATE)


def _read_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(path: Path, content: bytes, mode: int) -> None:
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)  # whatever the umask says
        file.write(content)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    folder, *names = sys.argv[1:]
    is_new = make_secrets(Path(folder), names)
    print(f"{folder}: {'made' if is_new else 'there already'}")
