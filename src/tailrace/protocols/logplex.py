"""Log drains of Heroku, which send to Axiom's ingest routes: counted syslog messages without structured data.

Sources: Logplex, "Logplex HTTP Drains", and its `logplex_http_drain.erl`. A request that is answered with 4xx is given
up; one that is answered with 5xx, or not within 5 seconds, is sent once more, with the same id, and with other messages
in it where Logplex reports what it lost meanwhile.
"""

import re
from datetime import UTC
from typing import Any

import numpy as np
from msgspec.structs import replace

from tailrace.events import ParsedBatch, TailraceError
from tailrace.parsing import EventCollector, Limits
from tailrace.protocols.doors.syslog_messages import syslog_event
from tailrace.protocols.http import Request

MEDIA = b"application/logplex-1"
FRAME_ID = b"logplex-frame-id"
MESSAGE_COUNT = b"logplex-msg-count"
DRAIN_TOKEN = b"logplex-drain-token"
MAX_DRAIN_TOKEN = 256  # characters; Logplex has about 40
EXAMPLE = "85 <40>1 2012-11-30T06:45:29+00:00 host heroku web.3 - State changed from starting to up"
_FRAME = re.compile(rb"([1-9][0-9]{0,7}) (?=<[0-9]{1,3}>1 )")
_SEPARATORS = re.compile(rb"[\r\n]*")
_COUNT = re.compile(rb"[0-9]{1,9}")
_BATCH = ""  # the collector's name for the dataset, which is the route's
_SHOWN_BYTES = 40  # of what is refused


class LogplexRetry(TailraceError):
    """A request that could be taken later, told so that Logplex sends it again."""

    status = 503
    code = "retry_later"
    retryable = True


def identify(request: Request) -> None:
    """Note the id of a request, by which its repetition is told."""
    frame_id = request.header(FRAME_ID)
    if frame_id:
        request.identify(MEDIA, request.headers.get(DRAIN_TOKEN, b""), frame_id)


def labels(request: Request) -> dict[str, Any]:
    """Return what tells the events of one app from those of others: messages do not name theirs."""
    token = request.headers.get(DRAIN_TOKEN, b"").decode("utf-8", "replace")
    return {"drain_token": token[:MAX_DRAIN_TOKEN]} if token else {}


def parse_logplex(body: bytes, request: Request, limits: Limits) -> ParsedBatch:
    """Return the messages of a body as events. Raise TooLarge.

    What is no frame, and one whose count of bytes is wrong, is refused up to where the next frame begins, and so is
    what the request says to have and has not.
    """
    collector = EventCollector(limits, request.received_ns)
    number = at = 0
    while (at := _end_of(_SEPARATORS, body, at)) < len(body):
        frame = _FRAME.match(body, at)
        end = frame.end() + int(frame[1]) if frame else at
        if frame and _is_whole(frame, body, end):
            message = body[frame.end() : end].decode("utf-8", "replace").rstrip("\r\n\0")
            event = syslog_event(message, request.received_ns, UTC, has_structured_data=False)
            collector.add(_BATCH, number, event)
        else:
            following = _FRAME.search(body, frame.end() if frame else at + 1)
            end = following.start() if following else len(body)
            collector.refuse(number, _fault(frame, body[at:end]), "invalid_frame")
        number, at = number + 1, end
    said = request.headers.get(MESSAGE_COUNT, b"")
    if _COUNT.fullmatch(said) and int(said) > number:
        missing = f"Logplex-Msg-Count is {int(said)}, but the body holds {number} messages"
        collector.refuse(number, missing, "invalid_frame")
    return _batch(collector, body)


def retried(request: Request, error: TailraceError) -> LogplexRetry | None:
    """Return the error after which Logplex sends its request again; None where that is no use, or it does already."""
    if request.media_type != MEDIA or error.status not in (408, 429):
        return None
    return LogplexRetry(error.message, retry_after_s=error.retry_after_s)


def _end_of(pattern: "re.Pattern[bytes]", body: bytes, start: int) -> int:
    match = pattern.match(body, start)
    return match.end() if match else start


def _is_whole(frame: "re.Match[bytes]", body: bytes, end: int) -> bool:
    """Return whether a message is as long as is said: the next one follows, or none begins before its end."""
    if end > len(body):
        return False
    following = _end_of(_SEPARATORS, body, end)
    if following == len(body) or _FRAME.match(body, following):
        return True
    return _FRAME.search(body, frame.end(), end) is None


def _fault(frame: "re.Match[bytes] | None", found: bytes) -> str:
    shown = found[:_SHOWN_BYTES].decode("utf-8", "replace")
    if frame is None:
        return f"what begins with {shown!r} is no message with the count of its bytes before it"
    came = len(found) - (frame.end() - frame.start())
    return f"the message that begins with {shown!r} is said to have {int(frame[1])} bytes and has {came}"


def _batch(collector: EventCollector, body: bytes) -> ParsedBatch:
    """Return all of a collector as one batch."""
    parsed = collector.batches().get(_BATCH) or ParsedBatch(b"", np.empty(0, np.int64), 0, 0)
    rejections = sorted((*collector.rejections, *parsed.rejections), key=lambda rejection: rejection.index)
    return replace(parsed, processed_bytes=len(body), rejections=tuple(rejections))
