"""Records of a CloudWatch metric stream in OpenTelemetry's formats 1.0.0 and 0.7.0: requests of OTLP, each framed.

Sources: AWS, "CloudWatch metric stream output in OpenTelemetry 1.0.0 format" and "… 0.7.0 format": a record holds
messages `ExportMetricsServiceRequest`, each after its length as a varint. What a stream sends, summaries, has the same
numbers of fields in both; but what 1.0.0 has as attributes are labels in 0.7.0, in a field that 1.0.0 leaves out.
"""

from typing import Any

from google.protobuf.message import DecodeError

from tailrace.parsing.protobuf import ProtobufField, message_classes, read_message

_REQUEST_START = 0x0A  # the tag of `resource_metrics`, with which each message begins
_MAX_LENGTH_BYTES = 5  # of a varint of 32 bits

_MESSAGES = message_classes(
    "tailrace.metric_stream",
    {
        "Request": [ProtobufField(1, "groups", "Group", is_repeated=True)],
        "Group": [ProtobufField(2, "scopes", "Scope", is_repeated=True)],
        "Scope": [ProtobufField(2, "metrics", "Metric", is_repeated=True)],
        "Metric": [ProtobufField(11, "summary", "Summary")],
        "Summary": [ProtobufField(1, "points", "Point", is_repeated=True)],
        "Point": [
            ProtobufField(1, "labels", "Label", is_repeated=True),
            ProtobufField(7, "attributes", "Attribute", is_repeated=True),
        ],
        "Label": [ProtobufField(1, "key", "bytes"), ProtobufField(2, "value", "bytes")],
        "Attribute": [ProtobufField(1, "key", "bytes"), ProtobufField(2, "value", "Value")],
        "Value": [ProtobufField(1, "string_value", "bytes", has_presence=True)],
    },
)  # of the fields that are moved; the decoder keeps the others


def metric_requests(record: bytes) -> list[bytes]:
    """Return the requests of a record as 1.0.0 has them, none where it is of neither format; raise TooLarge."""
    try:
        return [_with_attributes(request) for request in _messages(record)]
    except DecodeError:
        return []


def _messages(record: bytes) -> list[bytes]:
    """Return the messages of a record, none unless their lengths fill it to its end."""
    messages = []
    at = 0
    while at < len(record):
        size = shift = 0
        while True:
            if at == len(record) or shift == 7 * _MAX_LENGTH_BYTES:
                return []
            code = record[at]
            at += 1
            size |= (code & 0x7F) << shift
            shift += 7
            if code < 0x80:
                break
        end = at + size
        if not size or end > len(record) or record[at] != _REQUEST_START:
            return []
        messages.append(record[at:end])
        at = end
    return messages


def _with_attributes(request: bytes) -> bytes:
    """Return a request with the labels of its data points as attributes, the same where there are none."""
    message = read_message(_MESSAGES["Request"], request, holds_events=True)
    is_labelled = False
    for point in _points(message):
        for label in point.labels:
            point.attributes.add(key=label.key).value.string_value = label.value
            is_labelled = True
        del point.labels[:]
    encoded: bytes = message.SerializeToString() if is_labelled else request
    return encoded


def _points(message: Any) -> Any:
    return (
        point
        for group in message.groups
        for scope in group.scopes
        for metric in scope.metrics
        for point in metric.summary.points
    )
