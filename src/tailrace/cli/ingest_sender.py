"""The sender of `tailrace ingest`: pieces of a file to a dataset, and what became of each."""

import gzip
import re

import httpx
import msgspec
from msgspec import Struct

from tailrace.cli.client import json_of, message_of, refused, send_with_retries, unreachable
from tailrace.cli.errors import CommandError
from tailrace.cli.pieces import Piece

# Refusals of this one body; with any other, the next body would meet the same.
_BODY_REFUSED = frozenset({400, 413, 415, 422})
_FAILURE = re.compile(r"event (\d+): (.*)", re.DOTALL)


class RefusedEvents(Struct, frozen=True):
    """Events that were refused: one, or all of a refused body."""

    place: str  # "event 5", "events 0 to 99": indexes within the file, from 0
    events: int
    reason: str


class AnswerFailure(Struct):
    """A refused event in the answer to an ingest request."""

    timestamp: str
    error: str


class IngestAnswer(Struct):
    """The part of the answer to an ingest request that is used here."""

    ingested: int
    failures: list[AnswerFailure]


class PieceOutcome(Struct, frozen=True):
    """What became of one piece."""

    ingested: int
    failures: tuple[RefusedEvents, ...]

    @property
    def failed(self) -> int:
        """The number of events refused."""
        return sum(failure.events for failure in self.failures)


class PieceSender:
    """Sends pieces to one dataset."""

    def __init__(self, client: httpx.Client, path: str, params: dict[str, str], *, compress: bool) -> None:
        self._client = client
        self._path = path
        self._params = params
        self._compress = compress

    def send(self, piece: Piece, base: int) -> PieceOutcome:
        """Send a piece whose first event has the index `base` in its file; raise CommandError to stop for good."""
        headers = {"Content-Type": piece.content_type}
        body = piece.body
        if self._compress:
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body, compresslevel=1)
        try:
            params = self._params | ({"csv-delimiter": piece.csv_delimiter} if piece.csv_delimiter else {})
            answer = send_with_retries(
                lambda: self._client.post(self._path, params=params, content=body, headers=headers)
            )
        except httpx.TransportError as error:
            raise unreachable(self._client, error) from error
        if answer.status_code in _BODY_REFUSED:
            place = f"events {base} to {base + piece.events - 1}" if piece.events > 1 else f"event {base}"
            return PieceOutcome(0, (RefusedEvents(place, piece.events, message_of(answer)),))
        if not answer.is_success:
            raise refused(self._client, answer)
        return read_outcome(json_of(self._client, answer), base)


def read_outcome(answer: object, base: int) -> PieceOutcome:
    """Return what an ingest answer says, its events numbered within the file, the first of the body being `base`.

    Tailrace begins the error of a failure with "event N: ", N being the index in the body. Axiom does not: there the
    event's time has to tell which it is. Raise CommandError for what is no ingest answer.
    """
    try:
        read = msgspec.convert(answer, IngestAnswer)
    except msgspec.ValidationError as error:
        raise CommandError(f"the server's answer is not one to an ingest request: {error}") from error
    return PieceOutcome(read.ingested, tuple(_failure(failure, base) for failure in read.failures))


def _failure(failure: AnswerFailure, base: int) -> RefusedEvents:
    found = _FAILURE.fullmatch(failure.error)
    if found is None:
        return RefusedEvents(f"an event of {failure.timestamp}", 1, failure.error)
    return RefusedEvents(f"event {base + int(found[1])}", 1, found[2])
