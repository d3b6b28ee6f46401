"""By what the nodes of a fleet know each other: certificates, a shared secret, or both."""

from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from tailrace.events.secrets import WithSecrets
from tailrace.fleet.flight.sessions import check_secret

PLAIN, TLS = "grpc", "grpc+tls"  # schemes of a node's URL


class Certificates(WithSecrets, frozen=True):
    """PEM texts of a node: its certificate, the certificate's key, and the issuers of those of all nodes."""

    certificate: bytes
    key: Annotated[bytes, Meta(extra={"secret": True})]
    issuers: bytes
    not_after_s: int = 0  # Unix seconds when the certificate ends, 0 where nobody has looked

    @classmethod
    def read(cls, certificate: Path, key: Path, issuers: Path) -> "Certificates":
        """Read the files. Raise OSError."""
        return cls(certificate.read_bytes(), key.read_bytes(), issuers.read_bytes())


class Credentials(WithSecrets, frozen=True):
    """What a node shows, and asks of others. Raise ValueError where that is nothing, or can be guessed."""

    secret: Annotated[str, Meta(extra={"secret": True})] = ""
    certificates: Certificates | None = None

    def __post_init__(self) -> None:
        """Check that there is something that others do not have."""
        if self.secret or self.certificates is None:
            check_secret(self.secret)

    @property
    def scheme(self) -> str:
        """The scheme of the URLs of nodes."""
        return PLAIN if self.certificates is None else TLS

    def server_options(self) -> dict[str, Any]:
        """Return the arguments of a Flight server."""
        if self.certificates is None:
            return {}
        return {
            "tls_certificates": [(self.certificates.certificate, self.certificates.key)],
            "verify_client": True,
            "root_certificates": self.certificates.issuers,
        }

    def client_options(self) -> dict[str, Any]:
        """Return the arguments of a Flight client."""
        if self.certificates is None:
            return {}
        return {
            "tls_root_certs": self.certificates.issuers,
            "cert_chain": self.certificates.certificate,
            "private_key": self.certificates.key,
        }


class Peer(Struct, frozen=True):
    """A lake node, as others reach it."""

    node: str  # its name
    url: str  # grpc://host:port, or grpc+tls://
