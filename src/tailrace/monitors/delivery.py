"""Calls to the outside: only to public addresses, checked at the moment of connecting, with an end to time and size."""

import asyncio
import ipaddress
import smtplib
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from email.message import EmailMessage
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from tailrace.monitors.notifications import HttpCall

if TYPE_CHECKING:
    import httpx

MAX_ANSWER_BYTES = 64 * 1024  # read of an answer; the rest is left
MAX_ANSWER_SHOWN = 200  # characters of a refusal that the history keeps
RETRIED = frozenset({408, 425, 429, *range(500, 600)})  # statuses after which another attempt may succeed

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host name."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")


class DeliveryFailed(Exception):
    """A message did not arrive; `retryable` tells whether another attempt may help."""

    def __init__(self, reason: str, *, retryable: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retryable = retryable


class MailServer(Struct, frozen=True):
    """The server that takes mail, none where the host is empty."""

    host: str = ""
    port: int = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str = ""
    password: str = ""
    sender: str = "tailrace@localhost"


class DeliverySettings(Struct, frozen=True):
    """How calls are made."""

    private: bool = False  # whether they may go to addresses that are not public
    timeout_s: float = 10.0  # of a whole call
    mail: MailServer = MailServer()


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open Internet, and so is the IPv4 address that an IPv6 one stands for."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64_LOCAL or ip.is_site_local or ip.scope_id is not None:
            return False
        for inner in _inner(ip):
            if not is_public(str(inner)):
                return False
        if ip.ipv4_mapped is not None:
            return True  # judged by the address inside
    return ip.is_global and not (
        ip.is_multicast or ip.is_private or ip.is_loopback or ip.is_link_local or ip.is_reserved or ip.is_unspecified
    )


def _inner(ip: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """Return the IPv4 addresses that packets to an IPv6 one may end at."""
    found = [each for each in (ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())) if each is not None]
    packed = ip.packed
    # NAT64, and the IPv4-compatible form that was given up, but for :: and ::1.
    if ip in _NAT64 or (packed[:12] == bytes(12) and int(ip) > 1):
        found.append(ipaddress.IPv4Address(packed[12:]))
    return found


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses that the system has for a name; raise OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class NotificationSender:
    """Makes the calls. Lives on one event loop."""

    def __init__(
        self, outgoing: DeliverySettings, *, resolve: Resolve = system_resolve, tls: ssl.SSLContext | None = None
    ) -> None:
        self._outgoing = outgoing
        self._resolve = resolve
        self._given_tls = tls

    # Made when they are needed first: reading the certificates of a system takes a while.
    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._given_tls or ssl.create_default_context()

    @cached_property
    def _client(self) -> "httpx.AsyncClient":
        try:
            # Only here: few servers have notifiers, and every start would pay for it.
            from tailrace.monitors import transport
        except (ImportError, OSError) as error:  # without a file descriptor left
            raise DeliveryFailed(f"the call could not be made: {error}") from error
        return transport.client(
            self._tls, private=self._outgoing.private, resolve=self._resolve, timeout_s=self._outgoing.timeout_s
        )

    @property
    def mail(self) -> MailServer:
        """The mail server in use."""
        return self._outgoing.mail

    async def post(self, call: HttpCall) -> None:
        """Make a call; anything but a status of 200 to 299 within the time is DeliveryFailed."""
        client = self._client
        import httpx

        try:
            async with (
                asyncio.timeout(self._outgoing.timeout_s),
                client.stream("POST", call.url, content=call.body, headers=call.headers) as response,
            ):
                if response.is_success:
                    return
                said = await _beginning(response)
        except TimeoutError:
            raise DeliveryFailed(f"no answer within {self._outgoing.timeout_s:g} s (outgoing_timeout_s)") from None
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, UnicodeError) as error:
            raise DeliveryFailed(f"the call failed: {error or type(error).__name__}") from error
        where = "; redirects are not followed" if response.is_redirect else ""
        raise DeliveryFailed(
            f"the receiver answered {response.status_code}{where}" + (f": {said}" if said else ""),
            retryable=response.status_code in RETRIED,
        )

    async def send_mail(self, mail: EmailMessage) -> None:
        """Hand a mail to the mail server; raise DeliveryFailed. Blocks a thread meanwhile."""
        if not self.mail.host:
            raise DeliveryFailed("no mail server is set (smtp_host)", retryable=False)
        await asyncio.to_thread(_hand_over, mail, self.mail, self._outgoing.timeout_s, self._tls)

    async def close(self) -> None:
        """Close the connections."""
        if "_client" in self.__dict__:
            await self._client.aclose()


async def _beginning(response: "httpx.Response") -> str:
    """Return what an answer says, as far as it is worth keeping."""
    said = b""
    async for chunk in response.aiter_raw():
        said += chunk
        if len(said) >= MAX_ANSWER_BYTES:
            break
    text = " ".join(said[: 4 * MAX_ANSWER_SHOWN].decode("utf-8", "replace").split())
    return "".join(each for each in text if each.isprintable())[:MAX_ANSWER_SHOWN]


def _hand_over(mail: EmailMessage, server: MailServer, timeout_s: float, tls: ssl.SSLContext) -> None:
    try:
        with _connected(server, timeout_s, tls) as smtp:
            if server.user:
                smtp.login(server.user, server.password)
            refused = smtp.send_message(mail)
    except smtplib.SMTPRecipientsRefused as error:
        permanent = all(code >= 500 for code, _ in error.recipients.values())
        raise DeliveryFailed(f"the mail server refuses {_listed(error.recipients)}", retryable=not permanent) from error
    except smtplib.SMTPResponseException as error:
        text = error.smtp_error.decode("utf-8", "replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
        raise DeliveryFailed(
            f"the mail server answered {error.smtp_code}: {text[:MAX_ANSWER_SHOWN]}", retryable=error.smtp_code < 500
        ) from error
    except (OSError, smtplib.SMTPException, ValueError) as error:
        raise DeliveryFailed(f"the mail server {server.host} port {server.port} failed: {error}") from error
    if refused:
        # The others have it; another attempt would send it to them again.
        raise DeliveryFailed(f"the mail server refuses {_listed(refused)}", retryable=False)


def _connected(server: MailServer, timeout_s: float, tls: ssl.SSLContext) -> smtplib.SMTP:
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


def _listed(refused: dict[str, tuple[int, bytes]]) -> str:
    return "; ".join(
        f"{address}: {code} {text.decode('utf-8', 'replace')[:MAX_ANSWER_SHOWN]}"
        for address, (code, text) in refused.items()
    )
