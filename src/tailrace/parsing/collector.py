"""Events that a protocol makes one by one, gathered by dataset and brought under the limits of all events."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from tailrace.events import ParsedBatch, Rejection, TooLarge
from tailrace.events.times import rfc3339
from tailrace.parsing.json import ArrayFields, parse_array
from tailrace.parsing.limits import Limits

_FIELDS = ArrayFields(times=("_time",))
_ENCODER = msgspec.json.Encoder()
_OBJECTS = msgspec.json.Decoder(dict[str, Raw])


_LEAST_NS = 10**17  # as a number what is less would be a time in s, ms or us


def time_member(time_ns: int) -> bytes:
    """Return a time in ns since the Unix epoch as JSON that is just this time as a member `_time`."""
    return b"%d" % time_ns if time_ns >= _LEAST_NS else b'"%b"' % rfc3339(time_ns).encode()


class EventCollector:
    """The events of one request, each with its number in the request, from 0.

    The member `_time` of an event is its time: ns since the Unix epoch, from 1973 on, or a text that a time can be read
    from (`time_member`). Without one the event has the time of the request.
    """

    def __init__(self, limits: Limits, received_ns: int) -> None:
        self._limits = limits
        self.received_ns = received_ns
        self._lines: dict[str, list[bytes]] = {}  # one event or several with commas between them
        self._numbers: dict[str, list[int]] = {}
        self._count = 0
        self._bytes = 0
        self.rejections: list[Rejection] = []  # of events that are in no batch

    def add(self, dataset: str, number: int, event: dict[str, Any]) -> None:
        """Take an event; refuse one that cannot be written as JSON.

        Raise TooLarge past `max_events`, and where all events together have more than `max_body_bytes` as JSON.
        """
        try:
            line = _ENCODER.encode(event)
        except (msgspec.MsgspecError, UnicodeError, OverflowError, RecursionError, TypeError) as error:
            self.refuse(number, f"the event cannot be written as JSON: {error}")
        else:
            self._add(dataset, number, line)

    def add_json(self, dataset: str, number: int, event: bytes) -> None:
        """Take an event as JSON, as sent; refuse what is no JSON object. Raise as `add` does."""
        try:
            _OBJECTS.decode(event)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            self.refuse(number, f"the event is no JSON object: {error}")
        else:
            self._add(dataset, number, event.strip())

    def add_lines(self, dataset: str, numbers: Sequence[int], lines: Sequence[bytes]) -> None:
        """Take events that their maker wrote as JSON objects. Raise as `add` does."""
        self._count_events(len(lines), sum(map(len, lines)) + len(lines))
        self._lines.setdefault(dataset, []).extend(lines)
        self._numbers.setdefault(dataset, []).extend(numbers)

    def add_elements(self, dataset: str, numbers: Sequence[int], elements: bytes) -> None:
        """Take events that their maker wrote as JSON objects with a comma between them. Raise as `add` does."""
        self._count_events(len(numbers), len(elements) + 1)
        self._lines.setdefault(dataset, []).append(elements)
        self._numbers.setdefault(dataset, []).extend(numbers)

    def refuse(self, number: int, reason: str, code: str = "invalid_event") -> None:
        """Note an event that cannot be stored, and why."""
        self._count_events(1, 0)
        self.rejections.append(Rejection(number, reason, code))

    def batches(self, *, in_bulk: bool = False) -> dict[str, ParsedBatch]:
        """Return the events by dataset, in the order in which the datasets came; rejections have the event's number.

        With `in_bulk` raise ExactWayNeeded where an event needs a look by itself.
        """
        return {dataset: self._parsed(dataset, lines, in_bulk) for dataset, lines in self._lines.items()}

    def _add(self, dataset: str, number: int, line: bytes) -> None:
        self._count_events(1, len(line) + 1)
        lines = self._lines.get(dataset)
        if lines is None:
            lines = self._lines[dataset] = []
            self._numbers[dataset] = []
        lines.append(line)
        self._numbers[dataset].append(number)

    def _count_events(self, count: int, size: int) -> None:
        self._count += count
        self._bytes += size
        if self._count > self._limits.max_events:
            raise TooLarge(f"the request holds more than max_events = {self._limits.max_events} events")
        if self._bytes > self._limits.max_body_bytes:
            raise TooLarge(
                f"the events of the request have more than max_body_bytes = {self._limits.max_body_bytes} bytes"
            )

    def _parsed(self, dataset: str, lines: list[bytes], in_bulk: bool) -> ParsedBatch:
        numbers = self._numbers[dataset]
        parsed = parse_array(
            b"[" + b",".join(lines) + b"]",
            fields=_FIELDS,
            limits=replace(self._limits, max_body_bytes=self._limits.max_body_bytes + 2),
            max_event_bytes=self._limits.max_event_bytes,
            received_ns=self.received_ns,
            in_bulk=in_bulk,
        )
        return replace(parsed, rejections=tuple(replace(each, index=numbers[each.index]) for each in parsed.rejections))
