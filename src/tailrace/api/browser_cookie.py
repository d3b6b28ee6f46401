"""The cookies of a browser's session and of its sign-in at a provider, and what keeps pages of others from using them.

A cookie is not sent from another site (SameSite), nor read by a script (HttpOnly), nor set by a host beside this one
(the prefix `__Host-`, under TLS). It counts only beside a header that a page of another origin cannot add: the answer
to its preflight does not allow credentials.
"""

from datetime import datetime
from email.utils import format_datetime

from starlette.requests import Request
from starlette.responses import Response

from tailrace.events import Forbidden

HEADER = "X-Tailrace-Console"  # of every request that is authorized by the cookie, with any value
NAME = "tailrace_session"
SIGN_IN_NAME = "tailrace_sign_in"  # of what a sign-in at a provider is known by again
HOST_PREFIX = "__Host-"  # RFC 6265bis, section 4.1.3.2: only this very host sets it, and only under TLS


def session_secret(request: Request) -> str:
    """Return the secret in the cookie of a request, "" where it has none; raise Forbidden where the header lacks."""
    secret = _secret(request, NAME)
    if secret:
        require_console(request)
    return secret


def sign_in_secret(request: Request) -> str:
    """Return the secret of the sign-in at a provider that this browser began last, "" where there is none."""
    return _secret(request, SIGN_IN_NAME)


def require_console(request: Request) -> None:
    """Raise Forbidden for a request without the header, which a page of another origin may have sent."""
    if HEADER not in request.headers:
        raise Forbidden(f"a browser's session is started, used and ended beside the header {HEADER} only")


def set_session(response: Response, request: Request, secret: str, expires_at: datetime) -> None:
    """Add the session's cookie to an answer; without a secret it is taken from the browser."""
    _set(response, request, NAME, secret, expires_at)


def set_sign_in(response: Response, request: Request, secret: str, expires_at: datetime) -> None:
    """Add the cookie of a sign-in at a provider to an answer; without a secret it is taken from the browser."""
    _set(response, request, SIGN_IN_NAME, secret, expires_at)


def _secret(request: Request, name: str) -> str:
    return request.cookies.get(_name(request, name), "") if "cookie" in request.headers else ""


def _set(response: Response, request: Request, name: str, secret: str, expires_at: datetime) -> None:
    secure = "; Secure" if _is_secure(request) else ""
    age = f"; Expires={format_datetime(expires_at, usegmt=True)}"
    cookie = f"{_name(request, name)}={secret}; Path=/; HttpOnly; SameSite=Strict{age}{secure}"
    response.headers.append("set-cookie", cookie)


def _is_secure(request: Request) -> bool:
    return bool(request.scope["scheme"] == "https")


def _name(request: Request, base: str) -> str:
    """Return a cookie's name: browsers send a host's cookies to each of its ports, where other servers may be."""
    port = request.headers.get("host", "").rpartition(":")[2]
    name = f"{base}_{port}" if port.isdecimal() else base
    return HOST_PREFIX + name if _is_secure(request) else name
