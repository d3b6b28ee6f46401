"""What goes in and out of the HTTP Event Collector's routes."""

from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from tailrace.protocols.http import BodyDoc, ParameterDoc, RouteDoc


class HecReply(Struct, frozen=True, omit_defaults=True):
    """The answer of the collector: a code and its text; of an error what to do.

    Where events were refused, it tells of the first of them; all others of the request are stored.
    """

    text: str
    code: int
    ack_id: int | None = field(name="ackId", default=None)  # of a request on a channel
    number: int | None = field(name="invalid-event-number", default=None)  # from 0
    detail: str = ""
    refused: int | None = None  # events
    stored: int | None = None


class HecAckQuery(Struct, frozen=True):
    """Which ids are asked for."""

    acks: list[int]


class HecAcks(Struct, frozen=True):
    """By id, whether the events of its request are on disk."""

    acks: dict[str, bool]


_ENVELOPE: dict[str, Any] = {
    "time": 1767323045.123,
    "host": "web-1",
    "source": "app",
    "sourcetype": "_json",
    "index": "logs",
    "event": {"message": "hello", "level": "info"},
    "fields": {"region": "eu"},
}
_METADATA = tuple(
    ParameterDoc(name, f"The field {name} of events that have none.") for name in ("host", "source", "sourcetype")
)
_CHANNEL = ParameterDoc(
    "X-Splunk-Request-Channel", "A channel, so that the answer has an ackId; also channel in the query.", where="header"
)
_INDEX = ParameterDoc("index", "The dataset; it prevails over the index of an envelope.")
_REFUSALS = (400, 401, 403, 408, 413, 415, 503)

EVENTS = RouteDoc(
    about="Takes events in envelopes, one after the other, each for the dataset that its index names.",
    answers={200: HecReply},
    bodies={"application/json": BodyDoc(dict[str, Any], _ENVELOPE)},
    refusals=_REFUSALS,
    parameters=(_INDEX, *_METADATA, _CHANNEL),
)
LINES = replace(
    EVENTS,
    about="Takes lines of text, of which each is the field _raw of an event.",
    bodies={"text/plain": BodyDoc(str, "first line\nsecond line\n")},
    parameters=(_INDEX, *_METADATA, ParameterDoc("time", "The time of the events."), _CHANNEL),
)
ACKS = RouteDoc(
    about="Tells which requests of a channel are on disk, by the ids of their answers.",
    answers={200: HecAcks},
    bodies={"application/json": BodyDoc(HecAckQuery, {"acks": [0]})},
    refusals=_REFUSALS,
    parameters=(replace(_CHANNEL, required=True),),
)
HEALTH = RouteDoc(
    about="Tells whether events are taken.", answers={200: HecReply}, failures={503: HecReply}, credential=False
)
