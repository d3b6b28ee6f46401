"""The cookie of a browser's session, and what keeps pages of others from using it.

The cookie is not sent from another site (SameSite), nor read by a script (HttpOnly), nor set by a host beside this one
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
HOST_PREFIX = "__Host-"  # RFC 6265bis, section 4.1.3.2: only this very host sets it, and only under TLS


def session_secret(request: Request) -> str:
    """Return the secret in the cookie of a request, "" where it has none; raise Forbidden where the header lacks."""
    secret = request.cookies.get(_name(request), "") if "cookie" in request.headers else ""
    if secret:
        require_console(request)
    return secret


def require_console(request: Request) -> None:
    """Raise Forbidden for a request without the header, which a page of another origin may have sent."""
    if HEADER not in request.headers:
        raise Forbidden(f"a browser's session is started, used and ended beside the header {HEADER} only")


def set_session(response: Response, request: Request, secret: str, expires_at: datetime) -> None:
    """Add the cookie to an answer; without a secret it is taken from the browser."""
    secure = "; Secure" if _is_secure(request) else ""
    age = f"; Expires={format_datetime(expires_at, usegmt=True)}"
    response.headers.append("set-cookie", f"{_name(request)}={secret}; Path=/; HttpOnly; SameSite=Strict{age}{secure}")


def _is_secure(request: Request) -> bool:
    return bool(request.scope["scheme"] == "https")


def _name(request: Request) -> str:
    """Return the cookie's name: browsers send a host's cookies to each of its ports, where other servers may be."""
    port = request.headers.get("host", "").rpartition(":")[2]
    name = f"{NAME}_{port}" if port.isdecimal() else NAME
    return HOST_PREFIX + name if _is_secure(request) else name
