"""The HTTP client of the commands: server, token, and errors in words for people."""

import difflib
import functools
import inspect
import json
import os
import random
import re
import ssl
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import SplitResult, quote, urlsplit

import httpx
import typer
from msgspec import Struct

from tailrace.cli.errors import CommandError, NotFoundError, reason_of
from tailrace.server.layout import DEFAULT_DATA, OWNER_TOKEN_FILE, SERVER_FILE, TLS_DIRECTORY

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 300.0  # a query may take long until its first row
MAX_ATTEMPTS = 10
FIRST_WAIT_S = 0.5
MAX_WAIT_S = 30.0
RETRYABLE = frozenset({429, 503})  # with both, nothing of the request was stored

_NO_DATASET = re.compile(r"^dataset '([^']+)' not found")
_HOW_TO_MAKE = re.compile(r": `tailrace dataset create` or POST /v2/datasets makes it$")  # as the hint says
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
X509_PARTIAL_CHAIN = 0x80000  # of OpenSSL: what is trusted need not be an issuer
X509_NO_CHECK_TIME = 0x200000  # nor still be valid
WHERE_ELSE = (
    "start one with `tailrace serve`, give the data directory of a running one by --data (TAILRACE_DATA), "
    "or its address by --url (TAILRACE_URL)"
)

SERVER_OPTIONS = {
    "url": Annotated[
        str | None, typer.Option("--url", envvar="TAILRACE_URL", metavar="URL", help="Base URL of the server.")
    ],
    "token": Annotated[
        str | None, typer.Option("--token", envvar="TAILRACE_TOKEN", metavar="TOKEN", help="Token to use.")
    ],
    "data": Annotated[
        Path | None,
        typer.Option(
            "--data",
            envvar="TAILRACE_DATA",
            metavar="DIR",
            help="Data directory of a local server, used when no URL or token is given.",
            show_default=str(DEFAULT_DATA),
        ),
    ],
    "cafile": Annotated[
        Path | None,
        typer.Option(
            "--cafile",
            envvar="TAILRACE_CAFILE",
            metavar="FILE",
            help="PEM file of the certificates to trust for https; default: SSL_CERT_FILE, else the usual ones.",
        ),
    ],
}


class Target(Struct, frozen=True):
    """A server and the token to use with it."""

    url: str
    token: str
    certificates: tuple[str, ...] = ()  # of a local server, in PEM: with them its name is of no account


class ServerChoice(Struct, frozen=True):
    """The server of a command, by its options."""

    url: str | None = None
    token: str | None = None
    data: Path | None = None
    cafile: Path | None = None

    def find(self) -> Target:
        """Return the server and its token; raise CommandError."""
        return find_server(self.url, self.token, self.data or DEFAULT_DATA)

    def connect(self) -> httpx.Client:
        """Return a client of the server; raise CommandError."""
        return connect(self.find(), self.cafile)

    def connect_async(self) -> httpx.AsyncClient:
        """Return a client for the event loop; raise CommandError."""
        return httpx.AsyncClient(**_client_options(self.find(), self.cafile))


def server_command(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of the server to a command, which gets them as its argument `server`."""

    @functools.wraps(command)
    def run(*arguments: Any, **given: Any) -> None:
        choice = ServerChoice(**{name: given.pop(name) for name in SERVER_OPTIONS})
        command(*arguments, **given, server=choice)

    own = [item for item in inspect.signature(command, eval_str=True).parameters.values() if item.name != "server"]
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)
        for name, option in SERVER_OPTIONS.items()
    ]
    run.__signature__ = inspect.Signature(own + options)  # type: ignore[attr-defined]
    return run


def find_server(url: str | None, token: str | None, data: Path) -> Target:
    """Return the server given, else the one that runs on the data directory, with the token given or the owner's.

    The owner's token of the data directory goes to that directory's own server only. Raise CommandError.
    """
    local = _local_url(data)
    certificates: tuple[str, ...] = ()
    if not url:
        if local is None:
            raise CommandError(f"no server runs on the data directory {data}: {WHERE_ELSE}")
        url = local
    parts = _server_url(url)
    if local is not None and _same_server(parts, urlsplit(local)):
        token = token or _owner_token(data)
        certificates = _certificates(data) if is_loopback(url) else ()
    if not token:
        raise CommandError(f"no token for {url}: give one by --token (TAILRACE_TOKEN)")
    if not (token.isascii() and token.isprintable()):
        raise CommandError("the token holds characters that no token has: check --token (TAILRACE_TOKEN)")
    return Target(url.rstrip("/"), token, certificates)


def is_loopback(url: str) -> bool:
    """Return whether the URL's host is a name of this machine."""
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")


def connect(target: Target, cafile: Path | None = None) -> httpx.Client:
    """Return a client with the token set. A proxy of the environment is not asked for loopback addresses.

    The certificates to trust are those of the file, of the variables SSL_CERT_FILE and SSL_CERT_DIR, or httpx's own.
    """
    return httpx.Client(**_client_options(target, cafile))


def _client_options(target: Target, cafile: Path | None) -> dict[str, Any]:
    return {
        "base_url": target.url,
        "headers": {"Authorization": f"Bearer {target.token}", "User-Agent": "tailrace"},
        "timeout": httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
        "trust_env": not is_loopback(target.url),
        "verify": _trusted(target, cafile) if urlsplit(target.url).scheme == "https" else False,
    }


def _trusted(target: Target, cafile: Path | None) -> ssl.SSLContext:
    if target.certificates and cafile is None:
        # Only these very certificates, so that the name is one of this machine, which they are not for, says nothing.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_flags |= X509_PARTIAL_CHAIN | X509_NO_CHECK_TIME
        context.load_verify_locations(cadata="\n".join(target.certificates))
        return context
    file, directory = cafile or os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if not (file or directory):
        return httpx.create_ssl_context()
    try:
        return ssl.create_default_context(cafile=file or None, capath=None if cafile else directory or None)
    except (OSError, ssl.SSLError) as error:
        named = "--cafile (TAILRACE_CAFILE)" if cafile else "SSL_CERT_FILE"
        raise CommandError(
            f"cannot read the certificates in {file or directory}, given by {named}: {reason_of(error)}"
        ) from error


def call(
    client: httpx.Client, method: str, path: str, body: object = None, *, headers: Mapping[str, str] | None = None
) -> Any:
    """Send a request and return the JSON of its answer, None for an empty one; raise CommandError."""
    sent: dict[str, Any] = {} if body is None else {"json": body}
    try:
        answer = client.request(method, path, headers=headers, **sent)
    except httpx.TransportError as error:
        raise unreachable(client, error) from error
    check(client, answer)
    return json_of(client, answer) if answer.content else None


def quoted(name: str) -> str:
    """Return a name as one segment of a URL's path."""
    return quote(name, safe="")


def check(client: httpx.Client, answer: httpx.Response) -> None:
    """Raise CommandError for an answer that is not a success; its body must have been read."""
    if not answer.is_success:
        raise refused(client, answer)


def json_of(client: httpx.Client, answer: httpx.Response) -> Any:
    """Return the JSON of an answer; raise CommandError for an answer that has none."""
    try:
        return answer.json()
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CommandError(f"{_shown_url(client)} does not answer in JSON: is it a Tailrace server?") from error


def refused(client: httpx.Client, answer: httpx.Response) -> CommandError:
    """Return the error for a refusal, in words for people."""
    message = message_of(answer)
    if answer.status_code == httpx.codes.NOT_FOUND:
        return NotFoundError(_HOW_TO_MAKE.sub("", message) + _about_dataset(client, message))
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        return CommandError(
            f"{_shown_url(client)} refused the token ({message}): give a valid one by --token (TAILRACE_TOKEN)"
        )
    return CommandError(message)


def _about_dataset(client: httpx.Client, message: str) -> str:
    """Return a hint for a missing dataset: a similar name, and how to create one."""
    found = _NO_DATASET.search(message)
    if found is None:
        return ""
    near: list[str] = []
    if "did you mean" not in message:
        try:
            listed = client.get("/v2/datasets")
            names = [str(each["name"]) for each in listed.json()] if listed.is_success else []
        except (httpx.HTTPError, ValueError, TypeError, KeyError):
            names = []  # the token may not list them
        near = difflib.get_close_matches(found[1], names, 1)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    return f"{meant} (`tailrace dataset list` shows them, `tailrace dataset create {found[1]}` makes it)"


def message_of(answer: httpx.Response) -> str:
    """Return the message of an error answer, on one line."""
    try:
        body = answer.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        body = None
    message = body.get("message") if isinstance(body, dict) else None
    return " ".join(str(message or f"the server answered with status {answer.status_code}").split())


def unreachable(client: httpx.Client, error: httpx.TransportError) -> CommandError:
    """Return the error for a server that did not answer."""
    url = _shown_url(client)
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return CommandError(
            f"the certificate of {url} is not trusted ({cause.verify_message}): "
            "give the one that signed it by --cafile (TAILRACE_CAFILE, SSL_CERT_FILE)"
        )
    if isinstance(cause, ssl.SSLError):
        wrong = "it does not speak TLS: is it http://?" if cause.reason == "WRONG_VERSION_NUMBER" else str(cause)
        return CommandError(f"no TLS connection to {url}: {wrong}")
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
        return CommandError(f"no server answers at {url} ({_reason(error)}): {WHERE_ELSE}")
    return CommandError(f"the connection to {url} broke: {error or type(error).__name__}")


def _reason(error: httpx.TransportError) -> str:
    """Return the system's message, without its number."""
    return re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__


def send_with_retries(
    send: Callable[[], httpx.Response], sleep: Callable[[float], object] = time.sleep
) -> httpx.Response:
    """Send until the answer is not 429 or 503, or for the tenth time; return the last answer.

    Between attempts it waits as long as the answer's Retry-After says, else twice as long each time. A connection
    that could not be made is tried again too; one that broke is not, because the request may have been taken.
    """
    for attempt in range(1, MAX_ATTEMPTS + 1):
        wait_s = min(MAX_WAIT_S, FIRST_WAIT_S * 2 ** (attempt - 1)) * random.uniform(0.75, 1.0)
        try:
            answer = send()
        except httpx.ConnectError:
            # If the first attempt fails, the address is wrong rather than the server restarting.
            if attempt in {1, MAX_ATTEMPTS}:
                raise
        else:
            if answer.status_code not in RETRYABLE or attempt == MAX_ATTEMPTS:
                return answer
            wait_s = _retry_after_s(answer.headers.get("Retry-After"), wait_s)
        sleep(wait_s)
    raise AssertionError("the last attempt returns or raises")


def _retry_after_s(value: str | None, otherwise: float) -> float:
    if value is None:
        return otherwise
    try:
        wait_s = float(value) if value.strip().isdigit() else parsedate_to_datetime(value).timestamp() - time.time()
    except ValueError:
        return otherwise
    return min(max(wait_s, 0.0), MAX_WAIT_S)


def _local_url(data: Path) -> str | None:
    path = data / SERVER_FILE
    try:
        url = json.loads(path.read_bytes()).get("url")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError) as error:
        raise CommandError(f"cannot read {path}: {reason_of(error)}") from error
    return url if isinstance(url, str) else None


def _certificates(data: Path) -> tuple[str, ...]:
    """Return the certificates that the server of a data directory may have, without those of their issuers."""
    found = []
    for file in sorted((data / TLS_DIRECTORY).glob("*/certificate.pem")):
        try:
            first = _CERTIFICATE.search(file.read_text(errors="replace"))
        except OSError:  # of another user, or it was replaced meanwhile: it is trusted as any other server's then
            continue
        found += [first[0]] if first else []
    return tuple(found)


def _owner_token(data: Path) -> str | None:
    path = data / OWNER_TOKEN_FILE
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot read {path}: {reason_of(error)}; or give --token (TAILRACE_TOKEN)") from error


def _server_url(url: str) -> SplitResult:
    wrong = CommandError(f"{url!r} is not a server's URL: it is like http://127.0.0.1:8080")
    try:
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return parts
    except ValueError as error:  # of the port, or of an IPv6 address
        raise wrong from error
    raise wrong


def _same_server(one: SplitResult, other: SplitResult) -> bool:
    def address(parts: SplitResult) -> tuple[str, str | None, int | None]:
        host = "localhost" if is_loopback(parts.geturl()) else parts.hostname
        return parts.scheme, host, parts.port or {"http": 80, "https": 443}[parts.scheme]

    return address(one) == address(other)


def _shown_url(client: httpx.Client) -> str:
    return str(client.base_url).rstrip("/")
