"""Nodes know each other by certificates, by a secret, or by both."""

from pathlib import Path

import pytest
from support.flight import SECRET, LakeNode, StatedOwners, remote_lake
from support.tls import needs_openssl, self_signed

from tailrace.fleet.flight.credentials import Certificates, Credentials, Peer
from tailrace.fleet.flight.errors import OwnerUnavailable


def certificates(directory: Path) -> Certificates:
    """Return a node's certificate for localhost, which is its own issuer."""
    directory.mkdir()
    certificate, key = self_signed(directory, "localhost")
    return Certificates.read(certificate, key, certificate)


@needs_openssl
def test_nodes_with_certificates_of_the_issuers_talk_and_others_do_not(tmp_path: Path) -> None:
    known, unknown = certificates(tmp_path / "known"), certificates(tmp_path / "unknown")
    node = LakeNode(tmp_path / "lake", credentials=Credentials(certificates=known))
    peer = Peer("lake-1", f"grpc+tls://localhost:{node.server.port}")
    try:
        for shown, secret, is_good in (
            (known, "", True),
            (Certificates(unknown.certificate, unknown.key, known.issuers), "", False),  # a client that is not known
            (Certificates(known.certificate, known.key, unknown.issuers), "", False),  # that does not know the server
            (known, SECRET, False),  # that asks for more than the server has
        ):
            owners = StatedOwners(peer)
            with remote_lake(owners, tmp_path / "lake", credentials=Credentials(secret, shown), timeout_s=0) as lake:
                if is_good:
                    lake.create("d")
                    assert lake.snapshot("d", timeout_s=10).files == ()
                else:
                    with pytest.raises(OwnerUnavailable):
                        lake.snapshot("d", timeout_s=10)
        with (
            remote_lake(
                StatedOwners(Peer("lake-1", f"grpc://localhost:{node.server.port}")), tmp_path / "lake", timeout_s=0
            ) as plain,
            pytest.raises(OwnerUnavailable),
        ):
            plain.snapshot("d", timeout_s=3)
    finally:
        node.close()


@pytest.mark.parametrize("secret", ["", "short"])
def test_nodes_that_others_could_pretend_to_be_are_not_made(secret: str) -> None:
    with pytest.raises(ValueError, match="16 or more"):
        Credentials(secret)


def test_secrets_are_not_shown() -> None:
    shown = repr(Credentials(SECRET, Certificates(b"certificate", b"private", b"issuers")))

    assert (SECRET in shown, "private" in shown) == (False, False)
