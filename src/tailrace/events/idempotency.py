"""Idempotency keys: what tells the batches of a request from those of its repetitions.

The header and its errors are those of the IETF's draft "The Idempotency-Key HTTP Header Field".
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Annotated

from msgspec import Meta, Struct

from tailrace.events.errors import BadRequest, TailraceError

HEADER = b"idempotency-key"
MAX_KEY_BYTES = 256
DIGEST_BYTES = 16


class IdempotencySettings(Struct, frozen=True):
    """How long, and how many, idempotency keys are remembered."""

    window_s: Annotated[
        float,
        Meta(
            ge=0,
            le=30 * 86_400,
            description="Time in which a request with the same `Idempotency-Key` gets the first answer and stores "
            "nothing again; 0 ignores the header.",
        ),
    ] = 86_400.0
    max_keys: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000_000,
            description="Most idempotency keys that are remembered, each once a dataset, of about 250 bytes; the "
            "oldest are forgotten.",
            extra={"unit": "keys"},
        ),
    ] = 200_000


class IdempotencyKeyReused(TailraceError):
    """A request has the key of an earlier one, and another body."""

    status = 422
    code = "idempotency_key_reused"


class BatchKey(Struct, frozen=True):
    """The key of the events of one request that are in a batch."""

    digest: bytes  # of the key, whose it is, the dataset, and which of the request's batches for it this is
    fingerprint: bytes  # of the request's body
    count: int  # of the events


class IdempotencyKey(Struct):
    """The key of a request under way."""

    value: bytes  # as sent, without quotation marks
    fingerprint: bytes = bytes(DIGEST_BYTES)  # of the decoded body, once that was read
    batches: dict[str, int] = {}  # by dataset, how many so far

    def generated_id(self, sender: str, size: int) -> bytes:
        """Return up to DIGEST_BYTES that are the same for each repetition of the request, and for no other."""
        return digest(b"id", self.value, sender.encode(), self.fingerprint)[:size]

    def batch_key(self, sender: str, dataset: str, created_ns: int, count: int) -> BatchKey:
        """Return the key of the request's next batch for a dataset, which is told from others of its name."""
        number = self.batches.get(dataset, 0)
        self.batches[dataset] = number + 1
        parts = self.value, sender.encode(), b"%d" % number, b"%d" % created_ns, dataset.encode()
        return BatchKey(digest(*parts), self.fingerprint, count)


def key_of(values: Sequence[bytes]) -> IdempotencyKey:
    """Return the key of a request with these values of the header; raise BadRequest.

    The draft has a string in quotation marks; the same without them is the same key.
    """
    value = values[0].strip()
    if value.startswith(b'"') and value.endswith(b'"') and len(value) > 1:
        value = value[1:-1]
    if len(values) > 1:
        raise BadRequest("the request has more than one header Idempotency-Key")
    if not 0 < len(value) <= MAX_KEY_BYTES:
        raise BadRequest(f"an Idempotency-Key has 1 to {MAX_KEY_BYTES} bytes, not {len(value)}")
    return IdempotencyKey(value)


def digest(*parts: bytes) -> bytes:
    """Return a digest of DIGEST_BYTES of the parts, each told from the next."""
    hashed = blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        hashed.update(b"%d:" % len(part))
        hashed.update(part)
    return hashed.digest()
