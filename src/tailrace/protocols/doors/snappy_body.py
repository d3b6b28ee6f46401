"""Bodies compressed by snappy in its block format, as Loki's and Prometheus' clients send them."""

from functools import partial

from tailrace.parsing.protobuf import decode_snappy, snappy_size
from tailrace.protocols.http import IngestService, Request, decoded_wire

SNAPPY = "snappy"


async def snappy_body(request: Request, service: IngestService, *, is_snappy: bool) -> bytes:
    """Return the decoded body of a request: compressed by snappy where it is known to be, or where the header says so.

    Another coding that the header names is undone first. Raise BadRequest, TooLarge, UnsupportedEncoding.
    """
    codings = [name for name in request.content_encoding.replace(" ", "").split(",") if name]
    others = [name for name in codings if name.lower() != SNAPPY]
    max_bytes = service.limits.max_body_bytes
    body = await decoded_wire(request, service, await request.read(), ",".join(others), max_bytes)
    if not is_snappy and len(others) == len(codings):
        return body
    size = min(snappy_size(body), max_bytes)
    request.hold(size)
    return await service.offload(partial(decode_snappy, body, max_bytes), size)
