"""What the log drains of platforms send to Axiom's ingest routes, other than Axiom's own clients do.

Cloudflare's Logpush compresses its files, without a word of it in a header, under whatever content type its job names.
Vercel checks an endpoint by a request whose body is an empty object: the answer must have the header x-vercel-verify
with the value that Vercel shows, which is among the drain's own headers.
"""

import re

from msgspec.structs import replace

from tailrace.protocols.http import IngestService, Request, Response, decoded_wire

GZIP = b"\x1f\x8b"
VERIFY = b"x-vercel-verify"
GZIP_TYPES = frozenset({b"application/gzip", b"application/x-gzip"})
_VERIFY_VALUE = re.compile(rb"[A-Za-z0-9._~-]{1,256}")  # what is safe in a header
_NO_EVENTS = b"[]"


async def drained_body(request: Request, service: IngestService) -> bytes:
    """Return the decoded body of a request, also of one that is gzip-compressed by its first bytes alone.

    The body by which Vercel checks an endpoint holds no event. Raise as `decoded_body` does.
    """
    wire = await request.read()
    encoding = request.content_encoding or ("gzip" if wire.startswith(GZIP) else "")
    body = await decoded_wire(request, service, wire, encoding, service.limits.max_body_bytes)
    return _NO_EVENTS if VERIFY in request.headers and body.strip() == b"{}" else body


def verified(request: Request, response: Response) -> Response:
    """Return a response with the value by which Vercel knows an endpoint of its user's, where the request has one."""
    value = request.headers.get(VERIFY)
    if value is None or not _VERIFY_VALUE.fullmatch(value):
        return response
    return replace(response, headers=(*response.headers, (VERIFY, value)))
