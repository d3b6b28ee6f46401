"""OTLP requests parsed into events with Axiom's names, by dataset: one a span, a log record, or a data point.

Nothing that a request holds is left out. What is broken inside of a span, a log record or a data point costs no other.
Requests in protobuf are read by native code, and in Python what that leaves to it.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from tailrace.events import BadRequest, ParsedBatch, Rejection, TailraceError, TooLarge
from tailrace.native.otlp import EVENTS, ITEM, OtlpLimits, OtlpPart, otlp_reader
from tailrace.parsing.collector import EventCollector
from tailrace.parsing.limits import ExactWayNeeded, Limits
from tailrace.parsing.otlp import check_json_density
from tailrace.parsing.otlp_events import Signal
from tailrace.parsing.otlp_wire import LEVELS, UNREADABLE, OtlpLevels
from tailrace.parsing.surrogates import with_whole_characters
from tailrace.parsing.wire_fields import TooManyFields
from tailrace.protocols.doors.otlp_fields import (
    JSON_FIELDS,
    KINDS_OF_NAMES,
    PROTOBUF_FIELDS,
    OtlpFields,
    optional_text,
)
from tailrace.protocols.doors.otlp_lines import METRIC_KINDS, log_line, metric_fields, point_line, span_line

PORTION_BYTES = 1024 * 1024  # of JSON, and
PORTION_EVENTS = 1024  # that are counted at once
# What a request may become that is read in bulk: most become three times as many bytes.
BULK_GROWTH = 8
BULK_FREE_BYTES = 64 * 1024
BULK_EVENT_BYTES = 64  # of the body for each event, and
BULK_FREE_EVENTS = 2048  # that are had for nothing

MAX_SHOWN = 60  # characters of a name, in an error

DatasetOf = Callable[[str], str]  # of the attribute `dataset` of a resource; raises BadRequest where nothing names one


class ParsedExport(Struct, frozen=True):
    """What a request holds: its events by dataset, and what was refused before it was an event of any."""

    batches: dict[str, ParsedBatch]
    rejections: list[Rejection]


def parse_export(
    body: bytes,
    *,
    signal: Signal,
    protobuf: bool,
    dataset_of: DatasetOf,
    limits: Limits,
    received_ns: int,
    in_bulk: bool = False,
) -> ParsedExport:
    """Parse a decoded OTLP request of a signal into events.

    Raise BadRequest for a body that is no such request, and where it has events and no dataset is named for any;
    TooLarge (`max_events`, `max_body_bytes`), which counts a resource in each of its events; with `in_bulk`
    ExactWayNeeded where native code leaves something of it to Python, or makes very much of it.
    """
    if not protobuf:
        check_json_density(body)
    fields = PROTOBUF_FIELDS if protobuf else JSON_FIELDS
    reader = _RequestReader(fields, LEVELS[signal], dataset_of, limits, received_ns)
    parts = _native_parts(body, signal, limits, in_bulk=in_bulk) if protobuf else None
    if in_bulk and (parts is None or any(part.kind != EVENTS for part in parts)):
        raise ExactWayNeeded
    try:
        if parts is None:
            reader.read(body if protobuf else with_whole_characters(body))
        else:
            reader.take(parts)
    except TooManyFields as error:
        raise TooLarge(f"a message of the OTLP request is too large: {error}") from None
    except UNREADABLE as error:
        raise BadRequest(f"the body is no OTLP request of {signal} in {fields.wire.name}: {error}") from None
    batches = reader.collector.batches(in_bulk=in_bulk)
    if not protobuf and reader.is_empty:
        _check_names(body, signal)
    if not batches and reader.unnamed is not None:
        raise reader.unnamed
    return ParsedExport(_shared(len(body), batches), reader.collector.rejections)


def _native_parts(body: bytes, signal: Signal, limits: Limits, *, in_bulk: bool) -> list[OtlpPart] | None:
    if _NATIVE is None:
        return None
    max_events, max_bytes = limits.max_events, limits.max_body_bytes
    if in_bulk:
        max_events = min(max_events, BULK_FREE_EVENTS + len(body) // BULK_EVENT_BYTES)
        max_bytes = min(max_bytes, BULK_FREE_BYTES + len(body) * BULK_GROWTH)
    return _NATIVE.read(body, signal, OtlpLimits(max_events, 2 * limits.max_events, max_bytes))


_NATIVE = otlp_reader(KINDS_OF_NAMES)


def _check_names(body: bytes, signal: Signal) -> None:
    """Raise BadRequest where JSON without events has members, and not the one that holds those of the signal.

    A request of another signal, or one with a name that is misspelt or in snake case, would be lost in silence: names
    that are not known are ignored, by the specification.
    """
    first, *others = LEVELS[signal].groups.split("_")
    wanted = first + "".join(other.title() for other in others)
    names = list(msgspec.json.decode(body, type=dict[str, Raw]))
    if names and wanted not in names:
        raise BadRequest(f"the body has no {wanted!r}, as a request of {signal} has, but {names[0][:MAX_SHOWN]!r}")


def _shared(body_bytes: int, batches: dict[str, ParsedBatch]) -> dict[str, ParsedBatch]:
    """Return the batches with the bytes of the body shared out by what their events have as JSON."""
    whole = sum(parsed.processed_bytes for parsed in batches.values())
    return {
        dataset: replace(parsed, processed_bytes=body_bytes * parsed.processed_bytes // whole)
        for dataset, parsed in batches.items()
    }


class _RequestReader:
    """Reads one request into a collector."""

    def __init__(
        self, fields: OtlpFields, messages: OtlpLevels, dataset_of: DatasetOf, limits: Limits, received_ns: int
    ) -> None:
        self.collector = EventCollector(limits, received_ns)
        self.unnamed: TailraceError | None = None  # why there is no dataset for what names none
        self._fields = fields
        self._messages = messages
        self._dataset_of = dataset_of
        self._number = 0  # of the next event
        self._groups = 0
        self._max_groups = 2 * limits.max_events

    @property
    def is_empty(self) -> bool:
        """Whether nothing was read, of any resource."""
        return self._groups == 0

    def read(self, body: bytes) -> None:
        """Read the events of a request. Raise TooLarge, and one of UNREADABLE for what is no request."""
        wire, messages = self._fields.wire, self._messages
        request = wire.read[messages.request](body)
        for raw in wire.raws(getattr(request, messages.groups)):
            self._count_group()
            self._read_group(wire.read[messages.group](raw))

    def take(self, parts: Iterable[OtlpPart]) -> None:
        """Take the events that native code read, and read what it left."""
        for part in parts:
            dataset = self._named(part.dataset)
            if part.kind != EVENTS:
                context = part.text.decode()
                if part.kind == ITEM:
                    self._collect(self._line_of(context), (part.raw,), dataset)
                else:
                    self._read_metric(part.raw, context, dataset)
            elif dataset:
                numbers = range(self._number, self._number + part.count)
                self.collector.add_elements(dataset, numbers, part.text)
                self._number = numbers.stop
            else:
                self._refuse_unnamed(part.count)

    def _line_of(self, context: str) -> Callable[[bytes], str]:
        if self._messages.items == "spans":
            return partial(span_line, self._fields, context=context)
        if self._messages.items == "log_records":
            return partial(log_line, self._fields, context=context)
        return partial(point_line, self._fields, kind=METRIC_KINDS["gauge"], context=context)

    def _named(self, label: str) -> str:
        """Return the dataset for what is labelled so, an empty text where nothing names one."""
        try:
            return self._dataset_of(label)
        except BadRequest as error:
            self.unnamed = error
            return ""

    def _read_group(self, group: Any) -> None:
        """Read what is of one resource."""
        wire, messages = self._fields.wire, self._messages
        resource = self._fields.resources[wire.raw(group.resource)]
        of_resource = resource.fields + optional_text("resource.schema_url", group.schema_url)
        dataset = ""
        for raw in wire.raws(getattr(group, messages.scopes)):
            self._count_group()
            scope = wire.read[messages.scope](raw)
            items = getattr(scope, messages.items)
            if not items:
                continue
            dataset = dataset or self._named(resource.dataset)
            of_scope = self._fields.scopes[wire.raw(scope.scope)] + optional_text("scope.schema_url", scope.schema_url)
            self._read_items(items, of_scope + of_resource, dataset)

    def _count_group(self) -> None:
        """Count a resource, a scope or a metric: empty ones cost time too."""
        self._groups += 1
        if self._groups > self._max_groups:
            raise TooLarge(
                f"the request holds more than {self._max_groups} resources, scopes and metrics, twice max_events"
            )

    def _read_items(self, items: Any, context: str, dataset: str) -> None:
        raws = self._fields.wire.raws(items)
        if self._messages.items != "metrics":
            self._collect(self._line_of(context), raws, dataset)
            return
        for raw in raws:
            self._count_group()
            self._read_metric(raw, context, dataset)

    def _read_metric(self, raw: bytes, context: str, dataset: str) -> None:
        wire = self._fields.wire
        try:
            metric = wire.read["Metric"](raw)
            for field, kind in METRIC_KINDS.items():
                sent = wire.raw(getattr(metric, field))
                if sent:
                    data = wire.read[kind.data](sent)
                    common = metric_fields(self._fields, metric, kind, data) + context
                    render = partial(point_line, self._fields, kind=kind, context=common)
                    self._collect(render, wire.raws(data.data_points), dataset)
        except UNREADABLE as error:
            self._refuse(f"the metric cannot be read: {error}")

    def _collect(self, render: Callable[[bytes], str], raws: Iterable[bytes], dataset: str) -> None:
        lines: list[bytes] = []
        numbers: list[int] = []
        size = 0
        for raw in raws:
            if not dataset:
                self._refuse_unnamed(1)
                continue
            try:
                line = f"{{{render(raw)[1:]}}}".encode()
            except UNREADABLE as error:
                self._refuse(f"it cannot be read: {error}")
                continue
            lines.append(line)
            numbers.append(self._number)
            self._number += 1
            size += len(line)
            if size >= PORTION_BYTES or len(lines) >= PORTION_EVENTS:  # so that too many are soon known for that
                self.collector.add_lines(dataset, numbers, lines)
                lines, numbers, size = [], [], 0
        if lines:
            self.collector.add_lines(dataset, numbers, lines)

    def _refuse_unnamed(self, count: int) -> None:
        assert self.unnamed is not None
        for _ in range(count):
            self._refuse(self.unnamed.message, self.unnamed.code)

    def _refuse(self, reason: str, code: str = "invalid_event") -> None:
        self.collector.refuse(self._number, reason, code)
        self._number += 1
