"""Datadog's logs as events: JSON, lines of text, and what their tags say."""

import re
from collections.abc import Callable

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from tailrace.events import BadRequest, ParsedBatch
from tailrace.parsing import ArrayFields, EventCollector, Limits, TimeRule, parse_array, parse_json
from tailrace.protocols.doors.envelope import numbered, timed

# The attributes of a JSON log of which the first that can be read is its date, and Tailrace's own.
TIMES = ("@timestamp", "timestamp", "_timestamp", "Timestamp", "eventTime", "date", "published_date", "_time")
TAGS = "ddtags"

_FIELDS = ArrayFields(times=TIMES)
_UNTIMED = TimeRule(field="@tailrace-untimed")  # which no log has: times are read when the logs are an array
_DATASET_TAG = re.compile(r"(?:^|,)\s*dataset:([^,\s]+)")
_LINE = re.compile(rb"[^\r\n]+")
_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_TEXT = msgspec.json.Decoder(str)


def tagged_dataset(tags: str) -> str:
    """Return the dataset that tags name, `env:prod,dataset:NAME`; "" where they name none."""
    found = _DATASET_TAG.search(tags)
    return found[1] if found else ""


def parse_logs(body: bytes, limits: Limits, received_ns: int) -> ParsedBatch:
    """Return the logs of a body that is an array, an object, or objects one after the other, as NDJSON is.

    A log without a date that can be read has the time of the request. Raise BadRequest where the body is no JSON, and
    TooLarge.
    """
    if body.lstrip(b" \t\r\n\xef\xbb\xbf")[:1] == b"[":
        return _parse_array(body, limits, received_ns)
    sequence = parse_json(body, times=_UNTIMED, limits=limits, received_ns=received_ns, lines=True)
    array = b"[%s]" % sequence.events[:-1].replace(b"\n", b",")
    parsed = _parse_array(array, replace(limits, max_body_bytes=len(array)), received_ns)
    numbers = [number for number, _, _ in numbered(sequence)]
    refused = (replace(rejection, index=numbers[rejection.index]) for rejection in parsed.rejections)
    return replace(parsed, processed_bytes=len(body), rejections=(*sequence.rejections, *refused))


def _parse_array(body: bytes, limits: Limits, received_ns: int) -> ParsedBatch:
    return parse_array(
        body, fields=_FIELDS, limits=limits, max_event_bytes=limits.max_event_bytes, received_ns=received_ns
    )


def collect_lines(body: bytes, collector: EventCollector, dataset: str) -> None:
    """Take each line that is not empty as the message of a log; raise TooLarge."""
    for number, line in enumerate(_LINE.finditer(body)):
        try:
            text = line[0].decode()
        except UnicodeDecodeError as error:
            collector.refuse(number, f"the line is not UTF-8: {error}", "not_utf8")
        else:
            collector.add(dataset, number, {"message": text})


def with_tags(
    parsed: ParsedBatch, collector: EventCollector, default: Callable[[], str], tags: str, *, tags_decide: bool
) -> None:
    """Take parsed logs with what their tags say.

    The `tags` of the request come behind those of a log. With `tags_decide` a tag `dataset` of a log names its
    dataset, else it is the default.
    """
    for rejection in parsed.rejections:
        collector.refuse(rejection.index, rejection.reason, rejection.code)
    for number, line, time_ns in numbered(parsed):
        log = dict(_OBJECT.decode(line))
        own = _text_of(log.get(TAGS))
        if own and tags:
            log[TAGS] = Raw(msgspec.json.encode(f"{own},{tags}"))
        try:
            dataset = (tagged_dataset(own) if tags_decide else "") or default()
        except BadRequest as error:
            collector.refuse(number, error.message, error.code)
        else:
            collector.add(dataset, number, timed(log, time_ns))


def _text_of(value: Raw | None) -> str:
    """Return a text; "" for what is none."""
    if value is None or bytes(value)[:1] != b'"':
        return ""
    return _TEXT.decode(value)
