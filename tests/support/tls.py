"""Certificates for servers of the tests, signed by themselves or by an authority of the test."""

import shutil
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


LOCAL = "127.0.0.1"


def self_signed(directory: Path, *names: str, options: Sequence[str] = ()) -> tuple[Path, Path]:
    """Return the PEM files of a certificate for DNS names, or LOCAL, good for two days, and of its key."""
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    named = ",".join(f"IP:{name}" if name == LOCAL else f"DNS:{name}" for name in names)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", f"/CN={names[0]}", "-addext", f"subjectAltName={named}", *options,
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return certificate, key


def issued(directory: Path, issuer: tuple[Path, Path], *names: str, options: Sequence[str] = ()) -> tuple[Path, Path]:
    """Return the same of a certificate that another one, with its key, has issued, in a directory that is made."""
    directory.mkdir()
    certificate, key = issuer
    return self_signed(directory, *names, options=["-CA", str(certificate), "-CAkey", str(key), *options])


def authority(directory: Path) -> tuple[Path, Path]:
    """Return the certificate and the key of an issuer, in a directory that is made."""
    directory.mkdir()
    return self_signed(directory, "authority")


def shown_at(port: int) -> set[str]:
    """Return the DNS names in the certificate that a port shows."""
    pem = ssl.get_server_certificate(("127.0.0.1", port), timeout=30)
    text = subprocess.run(
        ["openssl", "x509", "-noout", "-ext", "subjectAltName"], input=pem, capture_output=True, text=True, check=True
    ).stdout
    names = (part.strip() for part in text.splitlines()[-1].split(","))
    return {name.removeprefix("DNS:") for name in names if name.startswith("DNS:")}


def replace_files(certificate: Path, key: Path, new: tuple[Path, Path]) -> None:
    """Put other files in the place of these, as tools that renew certificates do."""
    for file, content in ((key, new[1]), (certificate, new[0])):
        copy = file.with_suffix(".new")
        shutil.copy(content, copy)
        copy.replace(file)
