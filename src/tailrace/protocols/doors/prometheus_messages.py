"""Prometheus' write requests, 1.0 and 2.0, as events: one a sample, histogram or exemplar, named as OTLP's metrics are.

The messages are those of the specifications ("Remote-Write 1.0", "Remote-Write 2.0") and of Prometheus' `prompb`.
"""

import math
import struct
from collections.abc import Callable, Container, Iterator, Sequence, Set
from functools import partial
from itertools import accumulate
from typing import Any, Literal

import msgspec
from msgspec import Struct

from tailrace.events import BadRequest, TooLarge
from tailrace.events.timestamps import MAX_NS
from tailrace.parsing import EventCollector, Limits, time_member
from tailrace.parsing.protobuf import ProtobufField, message_classes, parse_message, text_of

Kind = Literal["samples", "histograms", "exemplars", "metadata"]
WRITTEN_KINDS: tuple[Kind, ...] = ("samples", "histograms", "exemplars")  # as they stand in a series

STALE = b"\x02\x00\x00\x00\x00\x00\xf0\x7f"  # the value of a sample that ends its series, as 8 bytes
NAME_LABEL = "__name__"
DATASET_LABEL = "dataset"
MAX_BUCKETS = 10_000  # of a native histogram, with the empty ones between them
CUSTOM_BUCKETS = -53  # the schema of a histogram with bounds of its own
_NS_PER_MS = 1_000_000
_TYPES = ("", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset")

_SAMPLE = (
    ProtobufField(1, "value", "double"),
    ProtobufField(2, "timestamp", "int64"),
    ProtobufField(3, "start_timestamp", "int64"),
)
_HISTOGRAM = (
    ProtobufField(1, "count_int", "uint64"),
    ProtobufField(2, "count_float", "double", has_presence=True),
    ProtobufField(3, "sum", "double"),
    ProtobufField(4, "schema", "sint32"),
    ProtobufField(5, "zero_threshold", "double"),
    ProtobufField(6, "zero_count_int", "uint64"),
    ProtobufField(7, "zero_count_float", "double"),
    ProtobufField(8, "negative_spans", "BucketSpan", is_repeated=True),
    ProtobufField(9, "negative_deltas", "sint64", is_repeated=True),
    ProtobufField(10, "negative_counts", "double", is_repeated=True),
    ProtobufField(11, "positive_spans", "BucketSpan", is_repeated=True),
    ProtobufField(12, "positive_deltas", "sint64", is_repeated=True),
    ProtobufField(13, "positive_counts", "double", is_repeated=True),
    ProtobufField(14, "reset_hint", "int32"),
    ProtobufField(15, "timestamp", "int64"),
    ProtobufField(16, "custom_values", "double", is_repeated=True),
    ProtobufField(17, "start_timestamp", "int64"),
)
_SPAN = (ProtobufField(1, "offset", "sint32"), ProtobufField(2, "length", "uint32"))
_FIRST = message_classes(
    "tailrace.prometheus1",
    {
        "Request": (
            ProtobufField(1, "timeseries", "bytes", is_repeated=True),  # of TimeSeries
            ProtobufField(3, "metadata", "bytes", is_repeated=True),  # of Metadata
        ),
        "TimeSeries": (
            ProtobufField(1, "labels", "Label", is_repeated=True),
            ProtobufField(2, "samples", "Sample", is_repeated=True),
            ProtobufField(3, "exemplars", "Exemplar", is_repeated=True),
            ProtobufField(4, "histograms", "Histogram", is_repeated=True),
        ),
        "Label": (ProtobufField(1, "name", "bytes"), ProtobufField(2, "value", "bytes")),
        "Sample": _SAMPLE[:2],
        "Exemplar": (
            ProtobufField(1, "labels", "Label", is_repeated=True),
            ProtobufField(2, "value", "double"),
            ProtobufField(3, "timestamp", "int64"),
        ),
        "Metadata": (
            ProtobufField(1, "type", "int32"),
            ProtobufField(2, "name", "bytes"),
            ProtobufField(4, "help", "bytes"),
            ProtobufField(5, "unit", "bytes"),
        ),
        "Histogram": _HISTOGRAM,
        "BucketSpan": _SPAN,
    },
)
_SECOND = message_classes(
    "tailrace.prometheus2",
    {
        "Request": (
            ProtobufField(4, "symbols", "bytes", is_repeated=True),
            ProtobufField(5, "timeseries", "bytes", is_repeated=True),  # of TimeSeries
        ),
        "TimeSeries": (
            ProtobufField(1, "labels_refs", "uint32", is_repeated=True),
            ProtobufField(2, "samples", "Sample", is_repeated=True),
            ProtobufField(3, "histograms", "Histogram", is_repeated=True),
            ProtobufField(4, "exemplars", "Exemplar", is_repeated=True),
            ProtobufField(5, "metadata", "Metadata"),
            ProtobufField(6, "created_timestamp", "int64"),
        ),
        "Sample": _SAMPLE,
        "Exemplar": (
            ProtobufField(1, "labels_refs", "uint32", is_repeated=True),
            ProtobufField(2, "value", "double"),
            ProtobufField(3, "timestamp", "int64"),
        ),
        "Metadata": (
            ProtobufField(1, "type", "int32"),
            ProtobufField(3, "help_ref", "uint32"),
            ProtobufField(4, "unit_ref", "uint32"),
        ),
        "Histogram": _HISTOGRAM,
        "BucketSpan": _SPAN,
    },
)
CLASSES = {1: _FIRST, 2: _SECOND}  # by the version of the protocol, and by name

_encode = msgspec.json.Encoder().encode
_Labels = list[tuple[str, str]]
_LabelsOf = Callable[[Any], _Labels]  # of a time series or an exemplar; raises BadRequest


class CollectedSamples(Struct):
    """What the events of a request are and where they go, by their numbers."""

    kinds: list[Kind] = []
    datasets: list[str] = []  # "" for what is refused

    def stored(self, kind: Kind, refused: Set[int], closed: Container[str]) -> int:
        """Return how many of a kind are stored: not those refused, nor those of datasets that took nothing."""
        return sum(
            each == kind and number not in refused and bool(dataset) and dataset not in closed
            for number, (each, dataset) in enumerate(zip(self.kinds, self.datasets, strict=True))
        )


def collect_samples(
    body: bytes, version: int, collector: EventCollector, limits: Limits, dataset_of: Callable[[str], str]
) -> CollectedSamples:
    """Give a collector the events of a decoded request of a version; raise BadRequest where it is none, and TooLarge.

    `dataset_of` returns the dataset of the label of a series, and raises BadRequest where there is none.
    """
    classes = CLASSES[version]
    request = parse_message(classes["Request"], body, f"write request {version}.0 of Prometheus")
    metadata = request.metadata if version == 1 else ()
    if body and not request.timeseries and not metadata:
        raise BadRequest(
            f"no time series in a request of version {version}.0: the header Content-Type says the version, "
            "'application/x-protobuf;proto=io.prometheus.write.v2.Request' for 2.0"
        )
    if max(len(request.timeseries), len(metadata)) > limits.max_events:
        raise TooLarge(f"the request holds more time series than max_events = {limits.max_events}")
    symbols = [text_of(symbol) for symbol in request.symbols] if version == 2 else []
    collection = _SampleCollection(collector, limits, dataset_of)
    labels_of = _first_labels if version == 1 else partial(_second_labels, symbols=symbols)
    for sent in request.timeseries:
        collection.take(parse_message(classes["TimeSeries"], sent, "time series of Prometheus"), labels_of, symbols)
    for sent in metadata:
        collection.take_metadata(parse_message(classes["Metadata"], sent, "metadata of Prometheus"))
    return collection.collected


def _first_labels(message: Any) -> _Labels:
    return [(text_of(label.name), text_of(label.value)) for label in message.labels]


def _second_labels(message: Any, symbols: Sequence[str]) -> _Labels:
    references = message.labels_refs
    if len(references) % 2:
        raise BadRequest("its labels are not pairs of names and values")
    try:
        texts = [symbols[reference] for reference in references]
    except IndexError:
        raise BadRequest(f"its labels refer to more than the {len(symbols)} symbols of the request") from None
    return list(zip(texts[::2], texts[1::2], strict=True))


class _SampleCollection:
    """Where what a request holds goes, which is counted from 0."""

    def __init__(self, collector: EventCollector, limits: Limits, dataset_of: Callable[[str], str]) -> None:
        self._collector = collector
        self._limits = limits
        self._dataset_of = dataset_of
        self.collected = CollectedSamples()

    def take(self, series: Any, labels_of: _LabelsOf, symbols: Sequence[str]) -> None:
        """Take a time series; what is wrong with its labels refuses it alone."""
        kinds = self.collected.kinds
        number = len(kinds)
        for kind in WRITTEN_KINDS:
            kinds += [kind] * len(getattr(series, kind))
        if len(kinds) > self._limits.max_events:
            raise TooLarge(f"the request holds more than max_events = {self._limits.max_events} samples")
        count = len(kinds) - number
        try:
            labels = labels_of(series)
            dataset = self._dataset_of(dict(labels).get(DATASET_LABEL, ""))
            fixed = _label_members(labels) + (_second_metadata(series, symbols) if symbols else b"")
        except BadRequest as error:
            self.collected.datasets += [""] * count
            for refused in range(number, number + count):
                self._collector.refuse(refused, error.message)
            return
        self.collected.datasets += [dataset] * count
        if count * len(fixed) > self._limits.max_body_bytes:
            raise TooLarge(
                f"the labels of {count} samples have more than max_body_bytes = {self._limits.max_body_bytes} bytes"
            )
        lines: list[bytes] = []
        good: list[int] = []
        for at, (time_ms, write, message) in enumerate(_members_of(series, labels_of), number):
            try:
                members = write(message)
                lines.append(b'{"_time":%b%b%b}' % (_time(time_ms), members, fixed))
                good.append(at)
            except BadRequest as error:
                self._collector.refuse(at, error.message)
        self._collector.add_lines(dataset, good, lines)

    def take_metadata(self, metadata: Any) -> None:
        """Take what is said of a metric as an event of its own, which has no value."""
        number = len(self.collected.kinds)
        self.collected.kinds.append("metadata")
        dataset = ""
        try:
            dataset = self._dataset_of("")
        except BadRequest as error:
            self._collector.refuse(number, error.message)
        else:
            members = _metadata(metadata.type, text_of(metadata.help), text_of(metadata.unit))
            line = b'{"metric":%b%b}' % (_encode(text_of(metadata.name)), members)
            self._collector.add_lines(dataset, (number,), (line,))
        self.collected.datasets.append(dataset)


def _members_of(series: Any, labels_of: _LabelsOf) -> Iterator[tuple[int, Callable[[Any], bytes], Any]]:
    """Yield the time of each sample, histogram and exemplar of a series in ms, and what writes its members."""
    created_ms = getattr(series, "created_timestamp", 0)
    for sample in series.samples:
        yield sample.timestamp, lambda sample: _value(sample.value) + _start(sample, created_ms), sample
    for histogram in series.histograms:
        yield histogram.timestamp, lambda histogram: _histogram(histogram) + _start(histogram, created_ms), histogram
    for exemplar in series.exemplars:
        yield exemplar.timestamp, lambda exemplar: _exemplar(exemplar, labels_of(exemplar)), exemplar


def _label_members(labels: _Labels) -> bytes:
    """Return the labels of a series as members of an object: the name as `metric`, others below `attributes`."""
    names = [name for name, _ in labels]
    if len(set(names)) < len(names):
        raise BadRequest("a label stands twice in its series")
    written: list[bytes] = []
    for name, value in labels:
        if value:  # an empty one is as none, in Prometheus' data model
            field = "metric" if name == NAME_LABEL else f"attributes.{name}"
            written.append(b",%b:%b" % (_encode(field), _encode(value)))
    return b"".join(written)


def _second_metadata(series: Any, symbols: Sequence[str]) -> bytes:
    metadata = series.metadata
    try:
        return _metadata(metadata.type, symbols[metadata.help_ref], symbols[metadata.unit_ref])
    except IndexError:
        raise BadRequest(f"its metadata refer to more than the {len(symbols)} symbols of the request") from None


def _metadata(type: int, help: str, unit: str) -> bytes:
    """Return what is known of a metric: counters are the monotonic sums of OTLP, other types have Prometheus' names."""
    name = _TYPES[type] if 0 <= type < len(_TYPES) else str(type)
    known = {"otel.metric.type": name, "otel.metric.description": help, "otel.metric.unit": unit}
    written = b"".join(b",%b:%b" % (_encode(field), _encode(text)) for field, text in known.items() if text)
    if name == "counter":
        written = written.replace(b'"counter"', b'"sum"', 1)
        written += b',"otel.metric.temporality":"cumulative","otel.metric.is_monotonic":true'
    return written


def _time(time_ms: int) -> bytes:
    time_ns = time_ms * _NS_PER_MS
    if abs(time_ns) > MAX_NS:
        raise BadRequest("its time is outside the years 1677 to 2262")
    return time_member(time_ns)


def _start(message: Any, created_ms: int) -> bytes:
    """Return since when a sample counts, where that is said."""
    start_ms = getattr(message, "start_timestamp", 0) or created_ms
    return b',"start_time_unix_nano":%d' % (start_ms * _NS_PER_MS) if start_ms else b""


def _value(value: float) -> bytes:
    if math.isnan(value) and struct.pack("<d", value) == STALE:
        return b',"stale":true'
    return b',"value":' + _number(value)


def _number(value: float) -> bytes:
    if math.isfinite(value):
        return _encode(value)
    return b'"NaN"' if math.isnan(value) else b'"Infinity"' if value > 0 else b'"-Infinity"'


def _exemplar(exemplar: Any, labels: _Labels) -> bytes:
    """Return an exemplar as OTLP has it; a trace's id is to be the label `trace_id`."""
    ids = {name: value for name, value in labels if name in ("trace_id", "span_id")}
    others = {name: value for name, value in labels if name not in ids}
    members = b"".join(b",%b:%b" % (_encode(name), _encode(value)) for name, value in ids.items())
    attributes = b',"attributes":%b' % _encode(others) if others else b""
    return b',"exemplars":[{"value":%b%b%b}]' % (_number(exemplar.value), members, attributes)


# Native histograms.


def _histogram(histogram: Any) -> bytes:
    """Return a native histogram as OTLP has it: exponential, or with bounds of its own."""
    if math.isnan(histogram.sum) and struct.pack("<d", histogram.sum) == STALE:
        return b',"stale":true'
    is_float = histogram.HasField("count_float")
    total = _number(histogram.count_float) if is_float else b"%d" % histogram.count_int
    written = b',"count":%b,"sum":%b' % (total, _number(histogram.sum))
    positive = _buckets(histogram.positive_spans, _counts(histogram, "positive", is_float=is_float))
    if histogram.schema == CUSTOM_BUCKETS:
        bounds = list(histogram.custom_values)
        offset, counts = positive
        after = len(bounds) + 1 - offset - len(counts)
        if offset < 0 or after < 0:
            raise BadRequest(f"its buckets do not fit to its {len(bounds)} bounds")
        counts = [b"0"] * offset + counts + [b"0"] * after
        return written + b',"bucket_counts":[%b],"explicit_bounds":[%b]' % (
            b",".join(counts),
            b",".join(map(_number, bounds)),
        )
    negative = _buckets(histogram.negative_spans, _counts(histogram, "negative", is_float=is_float))
    zero = _number(histogram.zero_count_float) if is_float else b"%d" % histogram.zero_count_int
    written += b',"scale":%d,"zero_count":%b,"zero_threshold":%b' % (
        histogram.schema,
        zero,
        _number(histogram.zero_threshold),
    )
    for name, (offset, counts) in (("positive", positive), ("negative", negative)):
        if counts:
            # Prometheus' bucket n ends at base**n, OpenTelemetry's begins there.
            written += b',"%b.offset":%d,"%b.bucket_counts":[%b]' % (
                name.encode(),
                offset - 1,
                name.encode(),
                b",".join(counts),
            )
    return written


def _counts(histogram: Any, sign: str, *, is_float: bool) -> list[bytes]:
    """Return the counts of the buckets: those of integers are sent as differences."""
    if is_float:
        return [_number(count) for count in getattr(histogram, f"{sign}_counts")]
    return [b"%d" % count for count in accumulate(getattr(histogram, f"{sign}_deltas"))]


def _buckets(spans: Any, counts: list[bytes]) -> tuple[int, list[bytes]]:
    """Return the number of the first bucket and the counts from there on, with zeros for those between the spans.

    Raise BadRequest where the spans are not those of the counts, or are too far apart.
    """
    dense: list[bytes] = []
    taken = 0
    first = spans[0].offset if spans else 0
    for index, span in enumerate(spans):
        gap = span.offset if index else 0
        if gap < 0 or len(dense) + gap + span.length > MAX_BUCKETS or taken + span.length > len(counts):
            raise BadRequest(f"its spans are not those of its {len(counts)} buckets, or of more than {MAX_BUCKETS}")
        dense += [b"0"] * gap
        dense += counts[taken : taken + span.length]
        taken += span.length
    if taken < len(counts):
        raise BadRequest(f"it has {len(counts)} buckets, and spans of {taken}")
    return first, dense
