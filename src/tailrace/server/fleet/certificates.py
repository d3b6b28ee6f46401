"""The certificate by which a node knows other nodes over TLS: read, tried, and read again when its files change."""

import contextlib
import ssl
from pathlib import Path

import pyarrow as pa
import pyarrow.flight as flight
from msgspec.structs import replace

from tailrace.config import ConfigError
from tailrace.fleet.flight.credentials import TLS, Certificates, Credentials
from tailrace.fleet.settings import FleetSettings
from tailrace.server.tls import stamp_of

ROUNDS = 10  # more than a handshake has
TRIAL_TIMEOUT_S = 10.0


class NodeCertificates:
    """The files that the settings of a node name."""

    def __init__(self, settings: FleetSettings, host: str) -> None:
        """Take the host at which others reach this node by Arrow Flight, empty where they do not."""
        self._certificate = Path(settings.fleet_tls_certificate)
        self._key = Path(settings.fleet_tls_key or settings.fleet_tls_certificate)
        self._issuers = Path(settings.fleet_tls_ca)
        self._host = host
        self._seen: object = None
        self._latest: Certificates | None = None

    def open(self) -> Certificates:
        """Return the certificate for a start; raise ConfigError where another node could not use it."""
        self._seen = self._stamp()
        self._latest = self._read()
        return self._latest

    def changed(self, *, is_asked: bool = False) -> Certificates | None:
        """Return the new certificate where there is another one than at the last call; raise ConfigError.

        With `is_asked` the files are read even if they have not changed.
        """
        stamp = self._stamp()
        if stamp == self._seen and not is_asked:
            return None
        self._seen = stamp
        found = self._read()
        if found == self._latest:
            return None
        self._latest = found
        return found

    def _stamp(self) -> object:
        return stamp_of(self._certificate, self._key, self._issuers)

    def _read(self) -> Certificates:
        try:
            found = Certificates.read(self._certificate, self._key, self._issuers)
        except OSError as error:
            raise _unusable(f"{error.filename} cannot be read: {error.strerror}") from None
        try:
            server = self._context(ssl.PROTOCOL_TLS_SERVER)
            client = self._context(ssl.PROTOCOL_TLS_CLIENT)
            client.check_hostname = bool(self._host)
            client.verify_mode = ssl.CERT_REQUIRED if self._host else ssl.CERT_NONE
            found = replace(found, not_after_s=_shake_hands(client, server, self._host))
        except ssl.SSLCertVerificationError as error:
            raise _unusable(f"other nodes would refuse the certificate: {error.verify_message}") from None
        except (OSError, ValueError) as error:  # an SSLError is an OSError
            raise _unusable(str(error)) from None
        if self._host:
            _try_flight(found, self._host)
        return found

    def _context(self, protocol: int) -> ssl.SSLContext:
        """Return what shows the certificate, and asks for one of the issuers."""
        context = ssl.SSLContext(protocol)
        context.load_cert_chain(self._certificate, self._key, password=b"")  # a key must not be encrypted
        try:
            context.load_verify_locations(self._issuers)
        except ssl.SSLError as error:
            raise _unusable(f"{self._issuers} has no certificate: {error}") from None
        context.verify_mode = ssl.CERT_REQUIRED
        return context


def _shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> int:
    """Have a client and a server meet in memory; return when the client's certificate ends. Raise SSLError."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    serving = server.wrap_bio(to_server, to_client, server_side=True)
    sides = [client.wrap_bio(to_client, to_server, server_hostname=host or None), serving]
    for _ in range(ROUNDS):
        for side in list(sides):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
                sides.remove(side)
    if sides:
        raise ssl.SSLError("the handshake does not end")
    shown = serving.getpeercert() or {}
    return ssl.cert_time_to_seconds(str(shown["notAfter"]))


def _try_flight(certificates: Certificates, host: str) -> None:
    """Have Arrow Flight, whose library for TLS is another one, use a certificate once. Raise ConfigError."""
    credentials = Credentials(certificates=certificates)
    try:
        with (
            flight.FlightServerBase(f"{TLS}://127.0.0.1:0", **credentials.server_options()) as server,
            flight.FlightClient(
                f"{TLS}://127.0.0.1:{server.port}", override_hostname=host, **credentials.client_options()
            ) as client,
            contextlib.suppress(NotImplementedError),  # the answer of who has taken the call
        ):
            list(client.list_flights(options=flight.FlightCallOptions(timeout=TRIAL_TIMEOUT_S)))
    except (flight.FlightError, pa.ArrowException) as error:
        raise _unusable(f"Arrow Flight cannot use them: {error}") from None


def _unusable(reason: str) -> ConfigError:
    names = "fleet_tls_certificate, fleet_tls_key or fleet_tls_ca"
    return ConfigError(f"setting {names}: the files cannot be used: {reason}")
