"""Answers in plain text, of protocols whose clients log a line and go by the status: errors, and what was refused."""

from collections.abc import Mapping, Sequence

from tailrace.events import ParsedBatch, Rejection, TailraceError
from tailrace.parsing import EventCollector
from tailrace.protocols.destinations import Delivery, unstored
from tailrace.protocols.http import Response, retry_headers

TEXT = b"text/plain; charset=utf-8"
ERROR_MEDIA = "text/plain"
MAX_LISTED = 5  # refused events whose reason an answer tells
MAX_REASON = 180  # characters of each: clients log about 1 KB of an answer


def render_text_error(error: TailraceError) -> Response:
    """Return an error as a line of text, and when to retry where that can help."""
    return Response(error.status, error.message.encode("utf-8", "replace") + b"\n", TEXT, retry_headers(error))


def refusal_line(
    collector: EventCollector, batches: Mapping[str, ParsedBatch], delivery: Delivery, *, what: str
) -> str:
    """Return how many events were refused and why, on one line; "" where none was. `what` is the plural of an event."""
    rejections: Sequence[Rejection] = sorted(
        (*collector.rejections, *delivery.rejections), key=lambda rejection: rejection.index
    )
    refused = len(rejections) + unstored(batches, delivery)
    if not refused:
        return ""
    reasons = [f"{name!r}: {error.message}" for name, error in delivery.refusals.items()]
    reasons += [f"number {each.index}: {each.reason}" for each in rejections[:MAX_LISTED]]
    listed = "; ".join(_shortened(" ".join(reason.split())) for reason in reasons[:MAX_LISTED])
    more = "; …" if len(delivery.refusals) + len(rejections) > MAX_LISTED else ""
    of, what_of_them = (f" of {refused + delivery.stored}", "the others are") if delivery.stored else ("", "none is")
    return f"{refused}{of} {what} were refused, {what_of_them} stored: {listed}{more}"


def _shortened(reason: str) -> str:
    return reason if len(reason) <= MAX_REASON else f"{reason[: MAX_REASON - 1]}…"
