"""Content encodings: the body of a request, decoded no further than its limit."""

import zlib
from collections.abc import Callable

import brotli

from tailrace.events import BadRequest, TooLarge, UnsupportedEncoding

ACCEPTED = ("gzip", "zstd", "deflate", "br", "identity")
MAX_CODINGS = 4  # in one header; each costs a pass over the body
MAX_GZIP_MEMBERS = 100_000
_CHUNK_BYTES = 256 * 1024
# How a body begins that is compressed; no text in UTF-8 and no message of OpenTelemetry's begins so.
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_MEMBER_BYTES = 4 * 1024  # read at once of a member after the first


def decode_body(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Decode `body` by the value of its `Content-Encoding` header; "" means that there was none.

    Several codings, separated by commas, are undone from last to first (RFC 9110, 8.4). `1` is what a
    Python client of the API sends for a body as it is. No step makes more than `max_bytes` and one chunk.

    Raise UnsupportedEncoding, TooLarge (`max_body_bytes`), or BadRequest where the data is broken or ends early, or
    is compressed without being said to be.
    """
    if encoding:
        codings = [name for name in (part.strip().lower() for part in encoding.split(",")) if name]
        if len(codings) > MAX_CODINGS:
            raise BadRequest(f"Content-Encoding names {len(codings)} codings; at most {MAX_CODINGS} are accepted")
        for name in codings:
            if name not in _DECODERS:
                raise UnsupportedEncoding(
                    f"Content-Encoding {name[:40]!r} is not supported; accepted are {', '.join(ACCEPTED)}"
                )
        for name in reversed(codings):
            # A client that compresses nothing sends nothing.
            body = _DECODERS[name](body, max_bytes) if body else body
    for beginning, name in _COMPRESSED.items():
        if body.startswith(beginning):
            also = " once more" if encoding else ""
            raise BadRequest(f"the body is {name} data{also}: that is to be in its header, Content-Encoding: {name}")
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    return body


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"the body is larger than max_body_bytes = {max_bytes} bytes after content decoding")


def _identity(body: bytes, max_bytes: int) -> bytes:
    return body


def _gzip(body: bytes, max_bytes: int) -> bytes:
    pieces: list[bytes] = []
    size = at = members = 0
    while at < len(body):
        members += 1
        if members > MAX_GZIP_MEMBERS:
            raise BadRequest(f"the gzip data has more than {MAX_GZIP_MEMBERS} members")
        member = zlib.decompressobj(wbits=31)
        # zlib copies what follows a member, so many small ones would copy a body given whole again and again.
        step = len(body) if members == 1 else _MEMBER_BYTES
        while not member.eof:
            portion = body[at : at + step]
            if not portion:
                raise BadRequest("broken gzip data: it ends before the end of the stream")
            at += len(portion)
            step = min(2 * step, _CHUNK_BYTES)
            pieces.append(_inflated(member, portion, max_bytes - size, "gzip"))
            size += len(pieces[-1])
        at -= len(member.unused_data)
        if body[at : at + 1] == b"\0" and not body[at:].strip(b"\0"):
            break  # padding to a block size, which gzip itself ignores too
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _deflate(body: bytes, max_bytes: int) -> bytes:
    # RFC 9110 means the zlib format; many clients send the raw stream. A raw stream may look like a zlib header.
    if body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0:
        try:
            return _whole_stream(zlib.decompressobj(wbits=15), body, max_bytes)
        except BadRequest as broken:
            try:
                return _whole_stream(zlib.decompressobj(wbits=-15), body, max_bytes)
            except BadRequest:
                raise broken from None
    return _whole_stream(zlib.decompressobj(wbits=-15), body, max_bytes)


def _whole_stream(stream: "zlib._Decompress", body: bytes, max_bytes: int) -> bytes:
    data = _inflate(stream, body, max_bytes, "deflate")
    if stream.unused_data:
        raise BadRequest(f"broken deflate data: {len(stream.unused_data)} bytes follow the end of the stream")
    return data


def _inflate(stream: "zlib._Decompress", body: bytes, max_bytes: int, name: str) -> bytes:
    data = _inflated(stream, body, max_bytes, name)
    if not stream.eof:
        raise BadRequest(f"broken {name} data: it ends before the end of the stream")
    return data


def _inflated(stream: "zlib._Decompress", portion: bytes, max_bytes: int, name: str) -> bytes:
    try:
        data = stream.decompress(portion, max_bytes + 1)
    except zlib.error as error:
        raise BadRequest(f"broken {name} data: {error}") from None
    if len(data) > max_bytes:
        raise _too_large(max_bytes)
    return data


def _zstd(body: bytes, max_bytes: int) -> bytes:
    import pyarrow as pa  # only here: a short command reads the protocols' options, and no body

    chunks: list[bytes] = []
    size = 0
    try:
        stream = pa.CompressedInputStream(pa.BufferReader(body), "zstd")
        while chunk := stream.read(min(max_bytes + 1 - size, max(_CHUNK_BYTES, 8 * len(body)))):
            chunks.append(chunk)
            size += len(chunk)
            if size > max_bytes:
                raise _too_large(max_bytes)
    except OSError as error:
        raise BadRequest(f"broken zstd data: {error}") from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _brotli(body: bytes, max_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    stream = brotli.Decompressor()
    try:
        chunk = stream.process(body, output_buffer_limit=_CHUNK_BYTES)
        while True:
            chunks.append(chunk)
            size += len(chunk)
            if size > max_bytes:
                raise _too_large(max_bytes)
            if stream.is_finished() or (not chunk and stream.can_accept_more_data()):
                break
            chunk = stream.process(b"", output_buffer_limit=_CHUNK_BYTES)
    except brotli.error as error:
        raise BadRequest(f"broken br data: {error}") from None
    if not stream.is_finished():
        raise BadRequest("broken br data: it ends before the end of the stream")
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "identity": _identity,
    "1": _identity,
    "gzip": _gzip,
    "x-gzip": _gzip,
    "zstd": _zstd,
    "deflate": _deflate,
    "br": _brotli,
}
