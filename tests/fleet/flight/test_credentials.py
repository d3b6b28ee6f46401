"""Nodes know each other by certificates, by a secret, or by both."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.flight import SECRET, LakeNode, StatedOwners, remote_lake
from support.tls import LOCAL, authority, issued, needs_openssl, self_signed, shown_at
from support.waiting import wait_until

from tailrace.fleet.flight.credentials import Certificates, Credentials, Peer
from tailrace.fleet.flight.errors import OwnerUnavailable, PeerRefused
from tailrace.fleet.flight.messages import AskTail, TailAnswer
from tailrace.fleet.flight.remote_lake import RemoteLake
from tailrace.lake.snapshot import no_check


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


@needs_openssl
def test_a_certificate_is_renewed_while_nodes_talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = authority(tmp_path / "authority")
    old, new = (
        Credentials(SECRET, Certificates.read(*issued(tmp_path / name, issuer, name, LOCAL), issuer[0]))
        for name in ("old", "new")
    )
    node = LakeNode(tmp_path / "lake", credentials=old)
    try:
        with remote_lake(StatedOwners(node.peer), tmp_path / "lake", credentials=old) as lake:
            lake.create("d")
            assert shown_at(node.server.port) == {"old"}

            begun, renewed = threading.Event(), threading.Event()
            answer = node.server.feeds.answer

            def late(asked: AskTail) -> TailAnswer:
                begun.set()
                assert renewed.wait(60)
                return answer(asked)

            monkeypatch.setattr(node.server.feeds, "answer", late)
            with ThreadPoolExecutor(1) as asking:
                tail = asking.submit(lake.tail, AskTail("d", "", 0, 1.0), no_check)
                assert begun.wait(60)
                node.server.renew(new)
                assert shown_at(node.server.port) == {"new"}
                renewed.set()
                assert tail.result().batches == ()  # of a call that was under way

            wait_until(lambda: _creates(lake, "e"))  # in the same session
            lake.renew(new)
            lake.create("f")
            assert lake.names() == ["d", "e", "f"]
    finally:
        node.close()


def _creates(lake: RemoteLake, name: str) -> bool:
    try:
        lake.create(name)
    except OwnerUnavailable:  # for a moment nobody listens
        return False
    return True


@needs_openssl
def test_a_node_that_speaks_tls_asks_none_that_does_not(tmp_path: Path) -> None:
    known = Credentials(SECRET, certificates(tmp_path / "known"))
    for url, credentials, words in (
        ("grpc://127.0.0.1:1", known, "it does not speak TLS to other nodes, and this one does"),
        ("grpc+tls://127.0.0.1:1", Credentials(SECRET), "it does speak TLS to other nodes, and this one does not"),
    ):
        owners = StatedOwners(Peer("lake-1", url))
        with (
            remote_lake(owners, tmp_path, credentials=credentials, timeout_s=0) as lake,
            pytest.raises(PeerRefused, match=words),
        ):
            lake.snapshot("d", timeout_s=10)


@pytest.mark.parametrize("secret", ["", "short"])
def test_nodes_that_others_could_pretend_to_be_are_not_made(secret: str) -> None:
    with pytest.raises(ValueError, match="16 or more"):
        Credentials(secret)


def test_secrets_are_not_shown() -> None:
    shown = repr(Credentials(SECRET, Certificates(b"certificate", b"private", b"issuers")))

    assert (SECRET in shown, "private" in shown) == (False, False)
