"""Calls to the outside: where they may go, and that they come to an end."""

import asyncio
import socketserver
import ssl
import threading
from collections.abc import Awaitable, Callable, Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.receivers import http_receiver, mailbox
from support.tls import needs_openssl, self_signed

from tailrace.monitors import DeliverySettings, MailServer, NotificationSender
from tailrace.monitors.notifications import DeliveryFailed, HttpCall
from tailrace.monitors.transport import CheckedTransport


def using(sender: Callable[[], NotificationSender], work: Callable[[NotificationSender], Awaitable[None]]) -> None:
    async def run() -> None:
        made = sender()
        try:
            await work(made)
        finally:
            await made.close()

    asyncio.run(run())


def post(url: str, outgoing: DeliverySettings | None = None, **more: Any) -> None:
    """Make a call, to this machine if need be."""
    call = HttpCall(url, b'{"a": 1}', {"Content-Type": "application/json", "X-Own": "1"})
    using(
        lambda: NotificationSender(outgoing or DeliverySettings(private=True), **more), lambda sender: sender.post(call)
    )


def resolving(*addresses: str) -> Any:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"])
def test_this_machine_is_not_called_under_any_name(host: str) -> None:
    with http_receiver() as receiver:
        port = receiver.url.rpartition(":")[2]
        with pytest.raises(DeliveryFailed, match=r"which is not public|cannot be resolved") as failed:
            post(f"http://{host}:{port}/", DeliverySettings())
        assert receiver.requests == []
    assert not failed.value.retryable or "resolved" in failed.value.reason


def test_the_call_goes_to_the_address_that_was_checked_under_the_name_of_the_url() -> None:
    with http_receiver() as receiver:
        port = receiver.url.rpartition(":")[2]
        post(f"http://alerts.example.com:{port}/hook?a=1", resolve=resolving("127.0.0.1"))

        [request] = receiver.requests
        assert (request.path, request.json) == ("/hook?a=1", {"a": 1})
        assert request.headers["host"] == f"alerts.example.com:{port}"
        assert (request.headers["x-own"], request.headers["content-type"]) == ("1", "application/json")


def test_of_several_addresses_only_public_ones_are_called_and_the_certificate_is_that_of_the_name() -> None:
    called: list[tuple[str, str, Any]] = []

    class Recording(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            called.append((request.url.host, request.headers["host"], request.extensions["sni_hostname"]))
            if len(called) == 1:
                raise httpx.ConnectError("no route")
            return httpx.Response(200)

    async def run() -> None:
        resolve = resolving("10.0.0.1", "8.8.8.8", "2606:2800:21f:cb07::1", "::1")
        transport = CheckedTransport(Recording(), private=False, resolve=resolve)
        async with httpx.AsyncClient(transport=transport) as client:
            await client.post("https://alerts.example.com/hook")

    asyncio.run(run())
    name = "alerts.example.com"
    assert called == [("8.8.8.8", name, name), ("2606:2800:21f:cb07::1", name, name)]


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(301, False), (307, False), (400, False), (404, False), (408, True), (429, True), (503, True)],
)
def test_another_status_is_a_failure_and_no_redirect_is_followed(status: int, retryable: bool) -> None:
    with http_receiver() as receiver:
        receiver.statuses = [status]
        receiver.headers = {"Location": f"{receiver.url}/elsewhere"}
        with pytest.raises(DeliveryFailed, match=f"answered {status}") as failed:
            post(f"{receiver.url}/hook")
        assert [request.path for request in receiver.requests] == ["/hook"]
    assert failed.value.retryable is retryable


class Stubborn(socketserver.BaseRequestHandler):
    """Begins an answer, and goes on with it for ever."""

    chunk = b""

    def handle(self) -> None:
        self.request.recv(65536)
        self.request.sendall(b"HTTP/1.1 500 No\r\nContent-Type: text/plain\r\n\r\nwhy not")
        try:
            while not self.server.ended.wait(0.001):  # type: ignore[attr-defined]
                self.request.sendall(self.chunk)
        except OSError:
            return  # the caller has hung up


@pytest.mark.parametrize(
    ("chunk", "message"), [(b"x" * 65536, "answered 500: why not"), (b"", "no answer within 0.2 s")]
)
def test_an_answer_without_end_or_without_progress_is_left(chunk: bytes, message: str) -> None:
    handler = type("Handler", (Stubborn,), {"chunk": chunk})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        server.ended = threading.Event()  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        timeout_s = 0.2 if not chunk else 30.0
        try:
            with pytest.raises(DeliveryFailed, match=message):
                post(
                    f"http://127.0.0.1:{server.server_address[1]}/", DeliverySettings(private=True, timeout_s=timeout_s)
                )
        finally:
            server.ended.set()  # type: ignore[attr-defined]
            server.shutdown()


def test_a_host_without_a_server_or_without_tls_is_a_failure_that_is_tried_again() -> None:
    with http_receiver() as receiver:
        for url, message in (
            (receiver.url.replace("http:", "https:"), "the call failed|no connection"),
            ("http://name.invalid/", "cannot be resolved"),
        ):
            with pytest.raises(DeliveryFailed, match=message) as failed:
                post(url)
            assert failed.value.retryable


@needs_openssl
def test_the_certificate_must_be_that_of_the_name_in_the_url(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "alerts.example.com")
    names: list[str] = []

    def named(connection: ssl.SSLObject, name: str, context: ssl.SSLContext) -> None:
        names.append(name)

    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    serving.sni_callback = named
    trusting = ssl.create_default_context(cafile=str(certificate))
    with http_receiver() as receiver:
        receiver.server.socket = serving.wrap_socket(receiver.server.socket, server_side=True)
        port = receiver.url.rpartition(":")[2]
        post(f"https://alerts.example.com:{port}/", tls=trusting, resolve=resolving("127.0.0.1"))
        with pytest.raises(DeliveryFailed, match="certificate"):
            post(f"https://other.example.com:{port}/", tls=trusting, resolve=resolving("127.0.0.1"))
        with pytest.raises(DeliveryFailed, match="certificate"):
            post(f"https://alerts.example.com:{port}/", resolve=resolving("127.0.0.1"))
        assert len(receiver.requests) == 1
    assert names == ["alerts.example.com", "other.example.com", "alerts.example.com"]


def mail() -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "a@example.com", "b@example.com, c@example.com", "Über"
    made.set_content("a\n.\nb\n")
    return made


def send(mail_server: MailServer) -> None:
    outgoing = DeliverySettings(mail=mail_server, timeout_s=5)
    using(
        lambda: NotificationSender(outgoing, tls=ssl.create_default_context()), lambda sender: sender.send_mail(mail())
    )


def test_a_mail_is_handed_to_the_mail_server() -> None:
    with mailbox() as box:
        send(MailServer("127.0.0.1", box.port, "none"))
        [(recipients, got)] = box.mails
    assert recipients == ["b@example.com", "c@example.com"]
    assert (got["Subject"], got.get_content()) == ("Über", "a\n.\nb\n")


def test_a_recipient_whom_the_mail_server_refuses_is_told_and_the_others_have_the_mail() -> None:
    with mailbox() as box:
        box.refused = {"c@example.com"}
        with pytest.raises(DeliveryFailed, match=r"refuses c@example\.com: 550 nobody here") as failed:
            send(MailServer("127.0.0.1", box.port, "none"))
        assert [recipients for recipients, _ in box.mails] == [["b@example.com"]]
    assert not failed.value.retryable


def test_no_mail_server_and_one_that_cannot_do_what_is_set_are_failures() -> None:
    with pytest.raises(DeliveryFailed, match="smtp_host") as failed:
        send(MailServer())
    assert not failed.value.retryable
    with mailbox() as box:
        with pytest.raises(DeliveryFailed, match="STARTTLS"):
            send(MailServer("127.0.0.1", box.port, "starttls"))
        assert box.mails == []
