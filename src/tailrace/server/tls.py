"""The certificate of the server's own ports: read, tried, and read again when its files change.

The HTTP server ends the whole process where it cannot use a certificate. So each one is tried in a process of its own
first, and what is used are copies of the files that were tried.
"""

import hashlib
import json
import os
import shutil
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from tailrace.config import ConfigError
from tailrace.storage.faults import reason_of

PROBE = "tailrace.server.tls_probe"
PROBE_TIMEOUT_S = 30.0


class TlsSettings(Struct, frozen=True):
    """The files of the certificate of the server's port, and of those for OTLP/gRPC and Flight SQL."""

    certificate: Annotated[
        str,
        Meta(
            description="PEM file of the server's certificate, with those of its issuers: the server's port, and "
            "those for OTLP/gRPC and Flight SQL, are for TLS then. It is read again when it changes."
        ),
    ] = ""
    key: Annotated[
        str, Meta(description="PEM file of the certificate's key; if empty, it is in the file of the certificate.")
    ] = ""


class Certificate(Struct, frozen=True):
    """A certificate that was tried, in files that nobody else changes."""

    certificate: Path  # PEM, with its issuers
    key: Path
    names: tuple[str, ...]  # that it is for
    not_after_s: int  # Unix seconds

    @property
    def files(self) -> tuple[Path, Path]:
        """The files of the certificate and of its key."""
        return self.certificate, self.key


class CertificateFiles:
    """The files that the settings name, and the copies of what was in them."""

    def __init__(self, settings: TlsSettings, directory: Path) -> None:
        """Take the directory for the copies, which this owns."""
        self._certificate = Path(settings.certificate)
        self._key = Path(settings.key or settings.certificate)
        self._directory = directory
        self._seen: object = None
        self._latest: list[Certificate] = []  # two at most: connections may still be given the one before

    def open(self) -> Certificate:
        """Return the certificate for a start; raise ConfigError where it cannot be used."""
        shutil.rmtree(self._directory, ignore_errors=True)  # what a killed server left
        self._seen = self._stamp()
        self._latest = [self._read()]
        return self._latest[-1]

    def changed(self, *, is_asked: bool = False) -> Certificate | None:
        """Return the new certificate where there is another one than at the last call; raise ConfigError.

        With `is_asked` the files are read even if they have not changed.
        """
        stamp = self._stamp()
        if stamp == self._seen and not is_asked:
            return None
        self._seen = stamp
        found = self._read()
        if found == self._latest[-1]:
            return None
        self._latest = [self._latest[-1], found]
        for directory in self._directory.iterdir():
            if all(directory != each.certificate.parent for each in self._latest):
                shutil.rmtree(directory, ignore_errors=True)
        return found

    def close(self) -> None:
        """Remove the copies."""
        shutil.rmtree(self._directory, ignore_errors=True)

    def _stamp(self) -> object:
        return stamp_of(self._certificate, self._key)

    def _read(self) -> Certificate:
        try:
            contents = (self._certificate.read_bytes(), self._key.read_bytes())
        except OSError as error:
            raise ConfigError(_unusable(f"{error.filename} cannot be read: {error.strerror}")) from None
        directory = self._directory / hashlib.sha256(b"\0".join(contents)).hexdigest()[:16]
        copies = directory / "certificate.pem", directory / "key.pem"
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for copy, content in zip(copies, contents, strict=True):
                with open(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                    file.write(content)
        except OSError as error:
            raise ConfigError(_unusable(f"{directory} cannot be written: {reason_of(error)}")) from None
        try:
            # Before the trial, as it says more of what is wrong. Its key must not be encrypted.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*copies, password=b"")
        except (OSError, ValueError) as error:  # an SSLError is an OSError
            raise ConfigError(_unusable(str(error))) from None
        return _tried(*copies)


def stamp_of(*files: Path) -> object:
    """Return what is another one once a file has changed or been replaced."""
    try:
        found = [file.stat() for file in files]
    except OSError as error:
        return str(error)
    return [(each.st_mtime_ns, each.st_size, each.st_ino, each.st_dev) for each in found]


def _unusable(reason: str) -> str:
    return f"setting tls_certificate or tls_key: the files cannot be used: {reason}"


def _tried(certificate: Path, key: Path) -> Certificate:
    """Return a certificate once a server of a process of its own has used it; raise ConfigError."""
    command = [sys.executable, "-m", PROBE, str(certificate), str(key)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(_unusable(f"they could not be tried: {error}")) from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "Err` value: " in line or "Error: " in line]
        reason = said[0].rpartition("value: ")[2] if said else f"a trial ended with {done.returncode}"
        raise ConfigError(_unusable(reason))
    found = json.loads(done.stdout)
    return Certificate(certificate, key, tuple(found["names"]), found["not_after_s"])
