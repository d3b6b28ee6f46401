"""What makes events to measure with: the same ones for the same seed."""

import random
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct

TEMPLATES = 4096  # distinct events; times, identifiers and measurements differ in every event made of them
START_US = int(datetime(2026, 3, 2, 6, tzinfo=UTC).timestamp()) * 1_000_000
TEXT = (
    "the a of to and in is it that this was for on with as but not be at by from have or an they one all we can more "
    "if so what about time just like now people know good really today new love day think back see still make work "
    "right sky blue morning coffee cat photo music game night year world happy great thanks read book way made much"
)
WORDS = TEXT.split()

Slots = Mapping[bytes, bytes]


class Generator(Struct, frozen=True):
    """A kind of events."""

    name: str
    dataset: str
    time_field: str  # at the top of an event
    templates: Callable[[random.Random], list[bytes]]  # formats with the slots' names
    slots: Callable[[random.Random], Iterator[Slots]]  # without end, one an event

    def events(self, seed: int) -> Iterator[bytes]:
        """Yield events without end, each one line of JSON without its newline; the same for the same seed."""
        source = random.Random(f"{self.name} {seed}")
        templates = self.templates(source)
        for slots in self.slots(source):
            yield templates[int(source.random() * len(templates))] % slots

    def bodies(self, seed: int, *, count: int, body_bytes: int) -> list[bytes]:
        """NDJSON bodies of whole events, each of at least `body_bytes` and less than one event more."""
        events = self.events(seed)
        bodies = []
        for _ in range(count):
            lines: list[bytes] = []
            size = 0
            while size < body_bytes:
                line = next(events)
                lines.append(line)
                size += len(line) + 1
            lines.append(b"")
            bodies.append(b"\n".join(lines))
        return bodies


def template(event: dict[str, Any]) -> bytes:
    """Return the event as a format: text `<name>` becomes the slot of that name, text `<<name>>` one without quotes."""
    text = msgspec.json.encode(event).replace(b"%", b"%%")
    text = text.replace(b'"<<', b"%(").replace(b'>>"', b")b")
    return text.replace(b"<", b"%(").replace(b">", b")b")


def iso_time(time_us: int) -> bytes:
    """Return a time as text with microseconds, of UTC."""
    second, rest = divmod(time_us, 1_000_000)
    return b"%b.%06dZ" % (_second_text(second), rest)


@lru_cache(maxsize=2)
def _second_text(second: int) -> bytes:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()
