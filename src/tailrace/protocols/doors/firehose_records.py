"""Records of a Firehose stream: JSON, lines of text, and what CloudWatch writes, to events."""

import binascii
import re
from base64 import b64decode
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from tailrace.events import BadRequest, TooLarge
from tailrace.events.times import rfc3339
from tailrace.parsing import EventCollector, Limits, TimeRule, decode_body, parse_json
from tailrace.protocols.doors.firehose_metrics import metric_requests
from tailrace.protocols.doors.otlp_requests import ParsedExport, parse_export

NS_PER_MS = 1_000_000
MAX_TIME_MS = 253_402_300_799_999  # the end of the year 9999
GZIP = b"\x1f\x8b"
INFLATED_SHARE = (
    4  # of `max_body_bytes`: what one record may inflate to, so that a bad one leaves something to the rest
)
_JSON_STARTS = (b"{", b"[")
_LINES = re.compile(rb"[^\r\n]+")
_OBJECTS = msgspec.json.Decoder(dict[str, Raw])
_TIMES = TimeRule()
# Log groups of services, as axiom-cloudwatch-forwarder tells them apart.
_SERVICE = re.compile(r"/aws/(lambda|apigateway|eks|rds)/(.*)", re.DOTALL)
_UNKNOWN_SERVICE = "unknown"


class LogEvent(Struct, frozen=True, rename="camel"):
    """An event of a log that CloudWatch Logs passes on."""

    id: str
    timestamp: int  # ms since the Unix epoch
    message: str
    extracted_fields: dict[str, Any] | UnsetType | None = UNSET


class SubscriptionMessage(Struct, frozen=True, rename="camel"):
    """What a subscription filter of CloudWatch Logs sends, gzip-compressed, as one record.

    Source: AWS, "Real-time processing of log data with subscriptions".
    """

    message_type: str
    owner: str
    log_group: str
    log_stream: str
    subscription_filters: list[str]
    log_events: list[LogEvent]


class MetricTime(Struct, frozen=True):
    """The time of a data point of a CloudWatch metric stream in its format JSON."""

    metric_stream_name: str
    timestamp: int  # ms since the Unix epoch


_SUBSCRIPTION = msgspec.json.Decoder(SubscriptionMessage)
_METRIC = msgspec.json.Decoder(MetricTime)


class RecordReader:
    """Reads the records of one request into a collector; what they inflate to is bounded for all together."""

    def __init__(self, collector: EventCollector, limits: Limits, dataset: str, sent_ns: int) -> None:
        """`sent_ns` is the time of lines of text, in ns since the Unix epoch."""
        self._collector = collector
        self._limits = limits
        self._dataset = dataset
        self._sent_ns = sent_ns
        self._inflatable = limits.max_body_bytes  # bytes that are left
        self.has_data_points = False  # of a metric stream in a format of OpenTelemetry

    def read(self, number: int, data: str) -> None:
        """Take the events of a record, in base64; refuse what cannot be read. Raise TooLarge as the collector does."""
        try:
            content = self._decoded(data)
            metrics = self._metrics(content)
        except (BadRequest, TooLarge) as error:
            self._collector.refuse(number, error.message, error.code)
            return
        if self._add_metrics(number, metrics):
            return
        try:
            content.decode()
        except UnicodeDecodeError:
            # What is binary is kept as it was sent, rather than lost.
            self._collector.add(self._dataset, number, {"data": data, "_time": self._sent_ns})
            return
        lines = self._json_lines(content)
        if lines is None:
            self._read_text(number, content)
        else:
            for line in lines:
                self._read_object(number, line)

    def _decoded(self, data: str) -> bytes:
        try:
            content = b64decode(data, validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadRequest(f"the record is not base64: {error}") from error
        if not content.startswith(GZIP):
            return content
        most = min(self._inflatable, max(self._limits.max_body_bytes // INFLATED_SHARE, self._limits.max_event_bytes))
        try:
            inflated = decode_body(content, "gzip", most)
        except TooLarge:
            self._inflatable -= most
            raise TooLarge(f"the record inflates to more than {most} bytes") from None
        self._inflatable -= len(inflated)
        return inflated

    def _metrics(self, content: bytes) -> list[ParsedExport]:
        """Return the data points of a metric stream in a format of OpenTelemetry, none where it is not that.

        Raise TooLarge for a record of too many.
        """
        read = partial(parse_export, signal="metrics", protobuf=True, limits=self._limits, received_ns=self._sent_ns)
        try:
            return [read(request, dataset_of=lambda label: self._dataset) for request in metric_requests(content)]
        except BadRequest:
            return []

    def _add_metrics(self, number: int, exports: list[ParsedExport]) -> bool:
        """Take data points; return whether there were any, or some that are refused."""
        batches = [parsed for export in exports for parsed in export.batches.values()]
        rejections = [each for export in exports for each in export.rejections]
        rejections += [each for parsed in batches for each in parsed.rejections]
        self.has_data_points = self.has_data_points or bool(batches)
        for parsed in batches:
            self._collector.add_lines(self._dataset, [number] * parsed.count, parsed.events.splitlines())
        for rejection in rejections:
            self._collector.refuse(number, rejection.reason, rejection.code)
        return bool(batches or rejections)

    def _json_lines(self, content: bytes) -> list[bytes] | None:
        """Return the objects of a record that holds nothing but JSON objects, each a line; None for another one."""
        if not content.lstrip().startswith(_JSON_STARTS):
            return None
        try:
            parsed = parse_json(content, times=_TIMES, limits=self._limits, received_ns=self._sent_ns, lines=True)
        except BadRequest:
            return None
        return None if parsed.rejections else parsed.events.splitlines()

    def _read_text(self, number: int, content: bytes) -> None:
        """Take each line as an event: an object of JSON as it is, any other as a message."""
        for match in _LINES.finditer(content):
            line = match.group()
            if line.lstrip().startswith(b"{") and _is_object(line):
                self._read_object(number, line)
            elif not line.isspace():
                self._collector.add(self._dataset, number, {"_time": self._sent_ns, "message": line.decode()})

    def _read_object(self, number: int, line: bytes) -> None:
        subscription = _subscription(line)
        if subscription is not None:
            if subscription.message_type != "CONTROL_MESSAGE":  # which asks whether the destination can be reached
                for event in _log_events(subscription):
                    self._collector.add(self._dataset, number, event)
            return
        self._collector.add_json(self._dataset, number, _with_time(line.strip()))


def _is_object(line: bytes) -> bool:
    try:
        _OBJECTS.decode(line)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    return True


def _subscription(line: bytes) -> SubscriptionMessage | None:
    if b'"logEvents"' not in line:
        return None
    try:
        return _SUBSCRIPTION.decode(line)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None  # an event of its own that has such a field


def _log_events(sent: SubscriptionMessage) -> Iterator[dict[str, Any]]:
    """Yield the events of a log, with the fields that axiom-cloudwatch-forwarder gives them, and their id."""
    service = _SERVICE.match(sent.log_group)
    name, group = service.groups() if service else (_UNKNOWN_SERVICE, sent.log_group)
    aws = {
        "owner": sent.owner,
        "logGroup": sent.log_group,
        "logStream": sent.log_stream,
        "messageType": sent.message_type,
        "subscriptionFilters": sent.subscription_filters,
        "serviceName": name,
        "logGroupName": group,
    }
    for each in sent.log_events:
        event: dict[str, Any] = {"aws": aws, "id": each.id, "message": each.message}
        if 0 <= each.timestamp <= MAX_TIME_MS:
            event["_time"] = rfc3339(each.timestamp * NS_PER_MS)
        else:
            event["timestamp"] = each.timestamp
        if each.extracted_fields:
            event["extractedFields"] = each.extracted_fields
        text = each.message.strip()
        if text.startswith("{") and text.endswith("}") and _is_object(text.encode("utf-8", "surrogatepass")):
            event[name] = Raw(text.encode())
        yield event


def _with_time(line: bytes) -> bytes:
    """Return a data point of a metric stream with its time as the event's, any other object as it is."""
    if b'"metric_stream_name"' not in line or b'"_time"' in line:
        return line
    try:
        point = _METRIC.decode(line)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return line
    if not 0 <= point.timestamp <= MAX_TIME_MS:
        return line
    return line[:-1] + b',"_time":"%s"}' % rfc3339(point.timestamp * NS_PER_MS).encode()
