"""TLS in the server: certificates that are tried first, and renewed while connections go on."""

import asyncio
import os
import signal
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import grpc  # type: ignore[import-untyped]
import httpx
import pytest
from support.commands import tailrace
from support.ports import free_port
from support.tls import needs_openssl, replace_files, self_signed, shown_at
from support.waiting import wait_until

from tailrace.config import ConfigError
from tailrace.server.tls import CertificateFiles, TlsSettings

if TYPE_CHECKING:
    from conftest import MakeServer, Server

pytestmark = needs_openssl

OLD, NEW = "old.example.com", "new.example.com"


def files_of(directory: Path, name: str) -> tuple[Path, Path]:
    """Return a certificate and its key, in a directory of their own."""
    directory.mkdir(exist_ok=True)
    return self_signed(directory, name)


def test_a_certificate_is_read_again_once_its_files_change(tmp_path: Path) -> None:
    certificate, key = files_of(tmp_path / "a", OLD)
    files = CertificateFiles(TlsSettings(str(certificate), str(key)), tmp_path / "copies")

    first = files.open()
    assert files.changed() is None
    replace_files(certificate, key, files_of(tmp_path / "b", NEW))
    second = files.changed()

    assert second is not None
    assert (first.names, second.names) == ((OLD,), (NEW,))
    assert first.certificate.stat().st_mode & 0o077 == second.key.stat().st_mode & 0o077 == 0
    assert files.changed(is_asked=True) is None  # as it is the same
    replace_files(certificate, key, files_of(tmp_path / "c", OLD))
    third = files.changed()
    assert third is not None
    assert [each.key.exists() for each in (first, second, third)] == [False, True, True]


@pytest.mark.slow
def test_the_key_may_be_in_the_file_of_the_certificate(tmp_path: Path) -> None:
    certificate, key = files_of(tmp_path, OLD)
    certificate.write_text(key.read_text() + certificate.read_text())

    assert CertificateFiles(TlsSettings(str(certificate)), tmp_path / "copies").open().names == (OLD,)


@pytest.mark.slow
@pytest.mark.quirk("granian", "2.8.9")
@pytest.mark.parametrize("curve", ["secp521r1"])
def test_a_key_that_the_http_server_would_end_the_process_for_is_refused(tmp_path: Path, curve: str) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", f"ec_paramgen_curve:{curve}", "-nodes", "-days", "2",
         "-subj", "/CN=a", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip

    with pytest.raises(ConfigError, match=r"tls_certificate or tls_key: .*failed to parse private key"):
        CertificateFiles(TlsSettings(str(certificate), str(key)), tmp_path / "copies").open()


def no_files(directory: Path) -> tuple[Path, Path]:
    return directory / "absent.pem", directory / "absent.pem"


def no_certificate(directory: Path) -> tuple[Path, Path]:
    certificate, key = self_signed(directory, OLD)
    certificate.write_text("nothing of the sort")
    return certificate, key


def another_key(directory: Path) -> tuple[Path, Path]:
    certificate, _ = self_signed(directory, OLD)
    _, key = files_of(directory / "other", OLD)
    return certificate, key


def encrypted_key(directory: Path) -> tuple[Path, Path]:
    certificate, key = self_signed(directory, OLD)
    subprocess.run(
        ["openssl", "ec", "-aes256", "-passout", "pass:secret", "-in", str(key), "-out", str(key) + ".e"],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key.with_name(key.name + ".e")


@pytest.mark.parametrize("make", [no_files, no_certificate, another_key, encrypted_key], ids=lambda make: make.__name__)
def test_files_that_cannot_be_used_are_refused(tmp_path: Path, make: Callable[[Path], tuple[Path, Path]]) -> None:
    certificate, key = make(tmp_path)

    with pytest.raises(ConfigError, match=r"setting tls_certificate or tls_key: the files cannot be used: ."):
        CertificateFiles(TlsSettings(str(certificate), str(key)), tmp_path / "copies").open()


def port_of(server: "Server") -> int:
    return int(server.url.rpartition(":")[2])


@pytest.fixture
def over_tls(make_server: "MakeServer", tmp_path: Path, request: pytest.FixtureRequest) -> "Server":
    """Start a server with the certificate `a`; how many workers it has is the parameter, if there is one."""
    certificate, key = files_of(tmp_path / "a", OLD)
    workers = getattr(request, "param", 1)
    options = [f"--tls-certificate={certificate}", f"--tls-key={key}", f"--workers={workers}"]
    server = make_server(*options, "--otlp-grpc-port=0")
    server.launch_unready()
    server._client = httpx.Client(
        base_url=server.url,
        headers={"Authorization": f"Bearer {server.token}"},
        timeout=60,
        verify=trusting(certificate),
    )
    return server


def trusting(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False  # 127.0.0.1
    return context


def renew(server: "Server", directory: Path) -> Path:
    """Replace the certificate, tell the server, and return the new one."""
    certificate, key = directory / "a" / "certificate.pem", directory / "a" / "key.pem"
    replace_files(certificate, key, files_of(directory / "b", NEW))
    os.kill(server.pid, signal.SIGHUP)
    wait_until(lambda: shown_at(port_of(server)) == {NEW})
    return certificate


@pytest.mark.slow
def test_commands_on_this_machine_trust_the_certificate_of_their_server(over_tls: "Server", tmp_path: Path) -> None:
    assert over_tls.url.startswith("https://127.0.0.1:")

    before = tailrace("dataset", "list", "--data", str(over_tls.data))
    renew(over_tls, tmp_path)
    after = tailrace("dataset", "list", "--data", str(over_tls.data))
    examined = tailrace("doctor", "--data", str(over_tls.data))
    other = tailrace("dataset", "list", "--url", over_tls.url, "--token", "xapt-x", "--data", str(tmp_path))

    assert (before.returncode, after.returncode) == (0, 0), before.stderr + after.stderr
    assert examined.returncode == 0, examined.stdout
    assert "is not trusted" in other.stderr


async def slowly(stop: asyncio.Event) -> AsyncIterator[bytes]:
    """Yield a body that is whole once `stop` is set."""
    yield b'[{"n": -1},'
    await stop.wait()
    yield b'{"n": -2}]'


@pytest.mark.slow
@pytest.mark.parametrize("over_tls", [1, 2], indirect=True)
def test_no_request_fails_while_the_certificate_is_renewed(over_tls: "Server", tmp_path: Path) -> None:
    over_tls.create("logs")
    url = f"{over_tls.url}/v1/datasets/logs/ingest"
    certificate = tmp_path / "a" / "certificate.pem"
    context = trusting(certificate)
    new, _ = files_of(tmp_path / "b", NEW)
    context.load_verify_locations(new)
    sent = 0

    async def send(client: httpx.AsyncClient, stop: asyncio.Event) -> None:
        nonlocal sent
        while not stop.is_set():
            (await client.post(url, json=[{"n": sent}])).raise_for_status()
            sent += 1

    async def run() -> None:
        stop = asyncio.Event()
        headers = {"Authorization": f"Bearer {over_tls.token}", "Content-Type": "application/json"}
        async with httpx.AsyncClient(verify=context, headers=headers, timeout=60) as client:
            slow = asyncio.create_task(client.post(url, content=slowly(stop)))
            sending = [asyncio.create_task(send(client, stop)) for _ in range(8)]
            for _ in range(3):
                await asyncio.sleep(0.3)
                replace_files(certificate, tmp_path / "a" / "key.pem", (new, tmp_path / "b" / "key.pem"))
                os.kill(over_tls.pid, signal.SIGHUP)
                await asyncio.to_thread(wait_until, lambda: shown_at(port_of(over_tls)) == {NEW})
            stop.set()
            await asyncio.gather(*sending)
            assert (await slow).json()["ingested"] == 2

    asyncio.run(run())

    over_tls._client = httpx.Client(
        base_url=over_tls.url, headers={"Authorization": f"Bearer {over_tls.token}"}, verify=context, timeout=60
    )
    assert over_tls.sql("SELECT count(*) AS n FROM logs") == [{"n": sent + 2}]
    assert over_tls.stop() == 0


@pytest.mark.slow
def test_a_certificate_that_cannot_be_used_leaves_the_one_before(over_tls: "Server", tmp_path: Path) -> None:
    (tmp_path / "a" / "certificate.pem").write_text("nothing of the sort")
    os.kill(over_tls.pid, signal.SIGHUP)

    wait_until(lambda: "what cannot be used stays as it was" in over_tls.errors.read_text())

    assert shown_at(port_of(over_tls)) == {OLD}


@pytest.mark.slow
def test_the_end_of_the_certificate_is_a_metric(over_tls: "Server") -> None:
    found = over_tls.client.get("/metrics").text

    assert "tailrace_tls_certificate_not_after_seconds " in found


@pytest.mark.slow
def test_a_server_that_cannot_start_leaves_no_copy_of_the_private_key(
    make_server: "MakeServer", tmp_path: Path
) -> None:
    certificate, key = files_of(tmp_path / "a", OLD)
    server = make_server(f"--tls-certificate={certificate}", f"--tls-key={key}")
    (server.data / "owner-token").mkdir(parents=True)

    with server.launch() as process:
        assert process.wait(120) == 1
    assert "owner-token cannot be opened" in server.errors.read_text()
    assert not (server.data / "tls").exists()


@pytest.mark.slow
def test_a_request_in_flight_at_the_end_leaves_no_copy_of_the_private_key(over_tls: "Server", tmp_path: Path) -> None:
    over_tls.signal(signal.SIGKILL)
    over_tls.options = (*over_tls.options, "--shutdown-grace-s=0.2")
    over_tls.launch_unready()
    head = "POST /v1/datasets/demo/ingest HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n"
    head += f"Authorization: Bearer {over_tls.token}\r\nExpect: 100-continue\r\n\r\n"
    context = trusting(tmp_path / "a" / "certificate.pem")
    with (
        socket.create_connection(("127.0.0.1", port_of(over_tls)), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname=OLD) as client,
    ):
        client.sendall(head.encode())
        assert client.recv(64).startswith(b"HTTP/1.1 100")
        assert over_tls.stop() == 0

    assert "still in flight" in over_tls.errors.read_text()
    assert not (over_tls.data / "tls").exists()


@pytest.mark.slow
def test_who_begins_no_handshake_is_disconnected(over_tls: "Server") -> None:
    with socket.create_connection(("127.0.0.1", port_of(over_tls)), timeout=60) as silent:
        assert silent.recv(1) == b""


@pytest.mark.slow
def test_otlp_over_grpc_has_the_certificate_too(make_server: "MakeServer", tmp_path: Path) -> None:
    certificate, key = files_of(tmp_path / "a", OLD)
    port = free_port()
    server = make_server(f"--tls-certificate={certificate}", f"--tls-key={key}", f"--otlp-grpc-port={port}")
    server.launch_unready()

    assert shown_at(port) == {OLD}
    renew(server, tmp_path)

    wait_until(lambda: shown_at(port) == {NEW})
    channel = grpc.secure_channel(
        f"127.0.0.1:{port}",
        grpc.ssl_channel_credentials((tmp_path / "b" / "certificate.pem").read_bytes()),
        options=[("grpc.ssl_target_name_override", NEW)],
    )
    grpc.channel_ready_future(channel).result(timeout=30)
    channel.close()


@pytest.mark.slow
def test_doors_for_tls_renew_their_certificate(make_server: "MakeServer", tmp_path: Path) -> None:
    certificate, key = files_of(tmp_path / "a", OLD)
    port = free_port()
    files = [f"--stream-tls-certificate={certificate}", f"--stream-tls-key={key}"]
    server = make_server(*files, f"--gelf-tls-port={port}").start()

    assert shown_at(port) == {OLD}
    replace_files(certificate, key, files_of(tmp_path / "b", NEW))
    os.kill(server.pid, signal.SIGHUP)

    wait_until(lambda: shown_at(port) == {NEW})
    key.write_text("nothing of the sort")
    os.kill(server.pid, signal.SIGHUP)
    wait_until(lambda: "what cannot be used stays as it was" in server.errors.read_text())
    assert shown_at(port) == {NEW}
