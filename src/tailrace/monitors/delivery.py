"""Delivery of notifications by HTTP and SMTP: to public addresses only, within a time, reading a bounded answer."""

import asyncio
import ipaddress
import smtplib
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from email.message import EmailMessage
from functools import cached_property
from typing import TYPE_CHECKING

from tailrace.monitors.notifications import HttpCall
from tailrace.monitors.settings import DeliverySettings, MailServer

if TYPE_CHECKING:
    import httpx

MAX_ANSWER_BYTES = 64 * 1024  # read of an answer; the rest is left
MAX_EXCERPT = 200  # characters of an answer in the history
RETRIED = frozenset({408, 425, 429, *range(500, 600)})  # statuses after which another attempt may succeed

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host name."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")


class DeliveryFailed(Exception):
    """A notification was not delivered; `retryable` tells whether another attempt may help."""

    def __init__(self, reason: str, *, retryable: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retryable = retryable


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open Internet, and so is the IPv4 address that an IPv6 one stands for."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64_LOCAL or ip.is_site_local or ip.scope_id is not None:
            return False
        for inner in _embedded_ipv4(ip):
            if not is_public(str(inner)):
                return False
        if ip.ipv4_mapped is not None:
            return True  # judged by the address inside
    return ip.is_global and not (
        ip.is_multicast or ip.is_private or ip.is_loopback or ip.is_link_local or ip.is_reserved or ip.is_unspecified
    )


def _embedded_ipv4(ip: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """Return the IPv4 addresses that packets to an IPv6 one may end at."""
    addresses = [each for each in (ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())) if each is not None]
    packed = ip.packed
    # NAT64, and the IPv4-compatible form that was given up, but for :: and ::1.
    if ip in _NAT64 or (packed[:12] == bytes(12) and int(ip) > 1):
        addresses.append(ipaddress.IPv4Address(packed[12:]))
    return addresses


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses that the system has for a name; raise OSError."""
    infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in infos))


class NotificationSender:
    """Sends notifications. To be used on one event loop."""

    def __init__(
        self, settings: DeliverySettings, *, resolve: Resolve = system_resolve, tls: ssl.SSLContext | None = None
    ) -> None:
        self._settings = settings
        self._resolve = resolve
        self._custom_tls = tls

    # When it is needed first: reading the certificates of a system takes a while.
    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._custom_tls or ssl.create_default_context()

    @cached_property
    def _client(self) -> "httpx.AsyncClient":
        try:
            # Only here: few servers have notifiers, and every start would pay for it.
            from tailrace.monitors import transport
        except (ImportError, OSError) as error:  # without a file descriptor left
            raise DeliveryFailed(f"the call could not be made: {error}") from error
        return transport.client(
            self._tls, private=self._settings.private, resolve=self._resolve, timeout_s=self._settings.timeout_s
        )

    @property
    def mail(self) -> MailServer:
        """The mail server in use."""
        return self._settings.mail

    async def post(self, call: HttpCall) -> None:
        """Make a call; anything but a status of 200 to 299 within the time is DeliveryFailed."""
        client = self._client
        import httpx

        try:
            async with (
                asyncio.timeout(self._settings.timeout_s),
                client.stream("POST", call.url, content=call.body, headers=call.headers) as response,
            ):
                if response.is_success:
                    return
                text = await _excerpt(response)
        except TimeoutError:
            raise DeliveryFailed(f"no answer within {self._settings.timeout_s:g} s (outgoing_timeout_s)") from None
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, UnicodeError) as error:
            raise DeliveryFailed(f"the call failed: {error or type(error).__name__}") from error
        where = "; redirects are not followed" if response.is_redirect else ""
        raise DeliveryFailed(
            f"the receiver answered {response.status_code}{where}" + (f": {text}" if text else ""),
            retryable=response.status_code in RETRIED,
        )

    async def send_mail(self, mail: EmailMessage) -> None:
        """Hand a mail to the mail server; raise DeliveryFailed. Blocks a thread meanwhile."""
        if not self.mail.host:
            raise DeliveryFailed("no mail server is set (smtp_host)", retryable=False)
        await asyncio.to_thread(_send_by_smtp, mail, self.mail, self._settings.timeout_s, self._tls)

    async def close(self) -> None:
        """Close the connections."""
        if "_client" in self.__dict__:
            await self._client.aclose()


async def _excerpt(response: "httpx.Response") -> str:
    """Return the beginning of an answer as text, for the history."""
    content = b""
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) >= MAX_ANSWER_BYTES:
            break
    text = " ".join(content[: 4 * MAX_EXCERPT].decode("utf-8", "replace").split())
    return "".join(character for character in text if character.isprintable())[:MAX_EXCERPT]


def _send_by_smtp(mail: EmailMessage, server: MailServer, timeout_s: float, tls: ssl.SSLContext) -> None:
    try:
        with _connect(server, timeout_s, tls) as smtp:
            if server.user:
                smtp.login(server.user, server.password)
            refused = smtp.send_message(mail)
    except smtplib.SMTPRecipientsRefused as error:
        permanent = all(code >= 500 for code, _ in error.recipients.values())
        raise DeliveryFailed(
            f"the mail server refuses {_refusals(error.recipients)}", retryable=not permanent
        ) from error
    except smtplib.SMTPResponseException as error:
        text = error.smtp_error.decode("utf-8", "replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
        raise DeliveryFailed(
            f"the mail server answered {error.smtp_code}: {text[:MAX_EXCERPT]}", retryable=error.smtp_code < 500
        ) from error
    except (OSError, smtplib.SMTPException, ValueError) as error:
        raise DeliveryFailed(f"the mail server {server.host} port {server.port} failed: {error}") from error
    if refused:
        # The others have it; another attempt would send it to them again.
        raise DeliveryFailed(f"the mail server refuses {_refusals(refused)}", retryable=False)


def _connect(server: MailServer, timeout_s: float, tls: ssl.SSLContext) -> smtplib.SMTP:
    if server.security == "tls":
        return smtplib.SMTP_SSL(server.host, server.port, timeout=timeout_s, context=tls)
    smtp = smtplib.SMTP(server.host, server.port, timeout=timeout_s)
    if server.security == "starttls":
        try:
            smtp.starttls(context=tls)
        except BaseException:
            smtp.close()
            raise
    return smtp


def _refusals(refused: dict[str, tuple[int, bytes]]) -> str:
    return "; ".join(
        f"{address}: {code} {text.decode('utf-8', 'replace')[:MAX_EXCERPT]}"
        for address, (code, text) in refused.items()
    )
