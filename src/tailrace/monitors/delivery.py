"""Delivery of notifications by HTTP and SMTP: to public addresses only, within a time, reading a bounded answer."""

import asyncio
import smtplib
import ssl
from email.message import EmailMessage
from functools import cached_property
from typing import TYPE_CHECKING

from tailrace.monitors.addresses import Resolve, system_resolve
from tailrace.monitors.notifications import DeliveryFailed, HttpCall
from tailrace.monitors.settings import DeliverySettings, MailServer

if TYPE_CHECKING:
    import httpx

MAX_ANSWER_BYTES = 64 * 1024  # read of an answer; the rest is left
MAX_EXCERPT = 200  # characters of an answer in the history
RETRIED = frozenset({408, 425, 429, *range(500, 600)})  # statuses after which another attempt may succeed


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
