"""What the native passes take of a core, beside msgspec cutting the same bytes into raw events: MB a CPU second."""

import time
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
from msgspec import Struct

from bench import worst
from bench.generators import GENERATORS
from tailrace.lake import LakeSettings
from tailrace.native.scanner import Bounds, Names, Scanner, scanner
from tailrace.native.shredder import TYPES, NativeShredder

SEED = 1
BODY_BYTES = 8_000_000  # what the lake shreds together
WORST_BODIES = 4
SHRED_AIM = 0.5  # of what msgspec does
WORST_AIM = 50.0  # MB a CPU second, of either pass
COLUMN_TYPES = TYPES[: TYPES.index("null")]
NAMES = Names(columns=(b"_time",), reserved=(b"_rest",))
BOUNDS = Bounds(max_depth=100, max_name_bytes=200, max_string_bytes=1 << 20, max_event_bytes=1 << 20)
MAX_EVENTS = 10_000_000


class Passes(Struct, frozen=True):
    """MB a CPU second over the same bytes; the best of the rounds."""

    name: str
    is_worst: bool
    raw: float  # msgspec: raw events and nothing else
    scan: float
    shred: float

    @property
    def is_met(self) -> bool:
        """Whether both passes are as fast as they are to be."""
        return min(self.scan, self.shred) >= WORST_AIM if self.is_worst else self.shred >= SHRED_AIM * self.raw


def measure(rounds: int, said: Callable[[str], None]) -> list[Passes]:
    """Return what the passes do of the generators' events and of the worst inputs."""
    found = []
    for generator in GENERATORS:
        said(f"native passes: {generator.name}")
        bodies = generator.bodies(SEED, count=1, body_bytes=BODY_BYTES)
        found.append(_passes(generator.name, bodies, rounds, is_worst=False))
    for name in worst.WORST:
        said(f"native passes: {name}")
        bodies = [worst.lines(name, seed) for seed in range(WORST_BODIES)]
        found.append(_passes(name, bodies, rounds, is_worst=True))
    return found


def _passes(name: str, bodies: Sequence[bytes], rounds: int, *, is_worst: bool) -> Passes:
    decoder = msgspec.json.Decoder(msgspec.Raw)
    scan = made_scanner()
    raw, scanned, shredded = [], [], []
    for _ in range(rounds):
        raw.append(mb_per_cpu_s(bodies, decoder.decode_lines))
        scanned.append(mb_per_cpu_s(bodies, lambda body: scan.scan(body, is_array=False)))
        # A new one each round: what comes is new to it.
        shredded.append(mb_per_cpu_s(bodies, partial(shred, NativeShredder())))
    return Passes(name, is_worst, max(raw), max(scanned), max(shredded))


def made_scanner() -> Scanner:
    """Return a scanner for NAMES and BOUNDS; raise RuntimeError where the native library is missing."""
    made = scanner(NAMES, BOUNDS, max_events=MAX_EVENTS)
    if made is None:
        raise RuntimeError("the native library is missing")
    return made


def shred(shredder: NativeShredder, events: bytes) -> None:
    """Shred lines as the lake does: what is dense gets a column, as long as there are columns left."""
    settings = LakeSettings()
    at = 0
    while at < len(events):
        portion = events[at:] if at else events
        count = portion.count(b"\n")
        read = shredder.read(portion, count)
        for values in shredder.unplaced(max(1, round(settings.column_density * read.rows))):
            if values.type in COLUMN_TYPES and shredder.place(values.path, values.type) >= settings.columns_per_dataset:
                break
        shredder.columns()
        shredder.new_rest(settings.columns_per_dataset)
        at += read.bytes


def mb_per_cpu_s(bodies: Sequence[bytes], work: Callable[[bytes], object]) -> float:
    """Return the rate at which a thread works on bodies."""
    began_s = time.thread_time()
    for body in bodies:
        work(body)
    return sum(map(len, bodies)) / 1e6 / (time.thread_time() - began_s)
