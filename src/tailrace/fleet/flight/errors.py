"""Errors on the way from one node to another: of the same class there, or of the nearest that it knows."""

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from tailrace.events import DatasetUnavailable, TailraceError

RETRY_AFTER_S = 2
MAX_MESSAGE = 2_000  # characters: what a call fails with is in headers of HTTP/2, which are bounded


class OwnerUnavailable(DatasetUnavailable):
    """No lake node holds the dataset at the moment, or the one that does is not to be reached."""

    code = "owner_unavailable"


class OwnerMoved(OwnerUnavailable):
    """No lake node holds the dataset at the moment, or another one does by now."""


class PeerRefused(OwnerUnavailable):
    """A node did not prove that it is one of the fleet."""

    code = "peer_refused"


class PartsGone(DatasetUnavailable):
    """Hot rows that a snapshot named are in a file by now."""

    code = "parts_gone"


class ErrorMessage(Struct, frozen=True, array_like=True):
    """An error as it is sent."""

    classes: tuple[str, ...]  # its own and those above it, the nearest first
    message: str
    retry_after_s: int | None


def encode_error(error: TailraceError) -> bytes:
    """Return an error as it is sent."""
    classes = tuple(each.__name__ for each in type(error).__mro__ if issubclass(each, TailraceError))
    return msgspec.msgpack.encode(ErrorMessage(classes, error.message[:MAX_MESSAGE], error.retry_after_s))


def decode_error(raw: bytes) -> TailraceError:
    """Return an error that was sent. Raise MsgspecError for what is none."""
    sent = msgspec.msgpack.decode(raw, type=ErrorMessage)
    known = {each.__name__: each for each in _classes(TailraceError)}
    nearest = next((known[name] for name in sent.classes if name in known), TailraceError)
    return nearest(sent.message, retry_after_s=sent.retry_after_s)


def _classes(above: type[TailraceError]) -> Iterator[type[TailraceError]]:
    """Yield the classes of the tree that are made of a message."""
    if above.__init__ is TailraceError.__init__:
        yield above
    for each in above.__subclasses__():
        yield from _classes(each)
