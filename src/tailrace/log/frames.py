"""Frames: the encoding of a batch in a segment file.

All integers are little endian:

    magic           4 bytes
    header CRC32C   uint32, of the 40 bytes that follow
    payload CRC32C  uint32, of dataset, labels, times and events
    count           uint32, events in the batch
    position        int64
    received        int64, ns since the Unix epoch
    dataset bytes   uint32
    labels bytes    uint32
    events bytes    uint64
    dataset         UTF-8
    labels          JSON object; of a batch with idempotency keys, a newline and hexadecimal follow: for each key its
                    digest (16 bytes), fingerprint (16 bytes) and count (uint64)
    times           int64 each, ns since the Unix epoch
    events          NDJSON, as in the batch

Keys make the second version of the format, `KEYED_FORMAT`; what reads the first alone cannot read such a frame.

The header's CRC covers the payload's, so together they cover the frame. It stands apart so that the lengths
of a frame whose payload is damaged can still be trusted to find the next one.
"""

import struct

import google_crc32c
import msgspec
import numpy as np
from msgspec import Struct

from tailrace.events import Batch
from tailrace.events.idempotency import BatchKey

# 0xF5 is in no UTF-8 text, so neither events, labels nor a dataset's name can hold a false start of a frame.
MAGIC = b"\xf5TLF"

FORMAT = 1  # version of the format
KEYED_FORMAT = 2  # with idempotency keys

_START = struct.Struct("<4sI")
_POSITION_FIELDS = struct.Struct("<IIq")
_LENGTH_FIELDS = struct.Struct("<qIIQ")
_FIELDS = struct.Struct("<IIqqIIQ")

_KEY = struct.Struct("<16s16sQ")

_TIME = np.dtype("<i8")

HEADER_BYTES = _START.size + _FIELDS.size
TIME_BYTES = 8

JOINED_BYTES = 16 * 1024  # of a payload: below it copying costs less than a buffer for each part

Buffer = bytes | bytearray | memoryview


class Payload(Struct, frozen=True, eq=False):
    """A batch prepared for writing: everything in a frame that does not depend on its position."""

    parts: tuple[Buffer, ...]  # dataset, labels, times and events, in order; of a small batch joined
    count: int
    lengths: bytes  # the header's fields after the position
    frame_bytes: int
    format_version: int  # FORMAT or KEYED_FORMAT


class Header(Struct, frozen=True):
    """The fixed part of a frame, its CRC checked."""

    payload_crc: int
    count: int
    position: int
    received_ns: int
    dataset_bytes: int
    labels_bytes: int
    events_bytes: int

    @property
    def payload_bytes(self) -> int:
        return self.dataset_bytes + self.labels_bytes + self.count * TIME_BYTES + self.events_bytes


def prepare(batch: Batch) -> Payload:
    """Prepare a batch for writing, without copying its events or times.

    ValueError, TypeError or struct.error when the batch cannot be written: it must not reach the writer then,
    where it would take others with it.
    """
    if batch.times.ndim != 1 or batch.times.size != batch.count:
        raise ValueError(f"a batch of {batch.count} events needs as many times, not {batch.times.shape}")
    dataset = batch.dataset.encode()
    labels = msgspec.json.encode(batch.labels) if batch.labels else b"{}"
    if batch.keys:
        labels += b"\n" + b"".join(map(_key_bytes, batch.keys)).hex().encode()
    lengths = _LENGTH_FIELDS.pack(batch.received_ns, len(dataset), len(labels), len(batch.events))
    payload_bytes = len(dataset) + len(labels) + batch.count * TIME_BYTES + len(batch.events)
    times = batch.times if batch.times.dtype == _TIME else batch.times.astype(_TIME)
    parts: tuple[Buffer, ...]
    if payload_bytes <= JOINED_BYTES:
        parts = (b"".join((dataset, labels, times.tobytes(), batch.events)),)
    else:
        parts = (dataset + labels, np.ascontiguousarray(times).view(np.uint8).data, batch.events)
    return Payload(parts, batch.count, lengths, HEADER_BYTES + payload_bytes, KEYED_FORMAT if batch.keys else FORMAT)


def encode(payload: Payload, position: int) -> tuple[Buffer, ...]:
    """Return the buffers that make up the frame at a position, in order."""
    first, *others = payload.parts
    payload_crc = google_crc32c.value(first)
    for part in others:
        # The library refuses memoryview, but takes an array laid over it.
        payload_crc = google_crc32c.extend(payload_crc, np.frombuffer(part, np.uint8))
    fields = _POSITION_FIELDS.pack(payload_crc, payload.count, position) + payload.lengths
    return _START.pack(MAGIC, google_crc32c.value(fields)) + fields + first, *others


def read_header(buffer: Buffer, offset: int) -> Header | None:
    """Return the header at an offset of a buffer that holds HEADER_BYTES from there; None when it is not valid."""
    magic, crc = _START.unpack_from(buffer, offset)
    if magic != MAGIC or crc != crc32c(buffer, offset + _START.size, _FIELDS.size):
        return None
    return Header(*_FIELDS.unpack_from(buffer, offset + _START.size))


def decode(header: Header, payload: memoryview) -> Batch:
    """Return the batch of a frame; the payload is copied, so its buffer may be used again."""
    labels_at = header.dataset_bytes
    times_at = labels_at + header.labels_bytes
    events_at = times_at + header.count * TIME_BYTES
    labels, _, keys = bytes(payload[labels_at:times_at]).partition(b"\n")
    return Batch(
        dataset=str(payload[:labels_at], "utf-8"),
        events=bytes(payload[events_at:]),
        times=np.frombuffer(bytes(payload[times_at:events_at]), dtype="<i8"),
        count=header.count,
        received_ns=header.received_ns,
        labels=msgspec.json.decode(labels, type=dict),
        keys=tuple(BatchKey(*fields) for fields in _KEY.iter_unpack(bytes.fromhex(keys.decode()))) if keys else (),
    )


def _key_bytes(key: BatchKey) -> bytes:
    return _KEY.pack(key.digest, key.fingerprint, key.count)


def crc32c(buffer: Buffer, offset: int, length: int) -> int:
    """Return the CRC32C of a part of a buffer, without copying it."""
    # The library refuses memoryview and bytearray, but takes an array laid over them.
    crc: int = google_crc32c.value(np.frombuffer(buffer, np.uint8, length, offset))
    return crc
