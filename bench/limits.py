"""What the machine does without a server: the same bytes decoded and flushed, the same events shredded and written."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.generators import Generator
from tailrace.events import Batch
from tailrace.lake import LakeSettings
from tailrace.lake.fields import Fields
from tailrace.lake.hot import HotPart, joined
from tailrace.lake.local_table import LocalTable
from tailrace.lake.parquet import in_order, write_files
from tailrace.lake.shred import Shredder
from tailrace.lake.shredding import SHRED_BYTES
from tailrace.lake.snapshot import FieldsView, HotTable
from tailrace.log import FIRST_WRITER
from tailrace.parsing import Limits, TimeRule, parse_json


def decode_and_flush(bodies: Sequence[bytes], file: Path) -> float:
    """Cut every body into raw events, check its UTF-8, write it and flush it before the next: bytes a second."""
    decoder = msgspec.json.Decoder(msgspec.Raw)
    descriptor = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        began = time.perf_counter()
        for body in bodies:
            decoder.decode_lines(body)
            body.decode()
            if os.write(descriptor, body) != len(body):
                raise OSError("a body was not written whole")
            os.fdatasync(descriptor)
        return sum(map(len, bodies)) / (time.perf_counter() - began)
    finally:
        os.close(descriptor)


def batches_of(generator: Generator, bodies: Sequence[bytes]) -> list[Batch]:
    """Return the bodies as they lie in the log."""
    rule = TimeRule(field=generator.time_field)
    received_ns = time.time_ns()
    limits = Limits()
    batches = []
    for body in bodies:
        parsed = parse_json(body, times=rule, limits=limits, received_ns=received_ns)
        batches.append(Batch(generator.dataset, parsed.events, parsed.times, parsed.count, received_ns))
    return batches


def shred_and_write(batches: Sequence[Batch], directory: Path) -> float:
    """Shred batches, sort the rows and write them as Parquet, in the lake's own portions: bytes a second."""
    settings = LakeSettings()
    directory.mkdir()
    storage = LocalTable(directory)
    fields = Fields(FieldsView(()), max_columns=settings.columns_per_dataset, density=settings.column_density)
    shredder = Shredder(fields)
    hot: list[HotPart] = []
    hot_bytes = 0
    began = time.perf_counter()
    for number, portion in enumerate(_portions(batches, SHRED_BYTES)):
        portion_bytes = sum(len(batch.events) for batch in portion)
        hot.append(HotPart(HotTable.of(shredder.shred(portion)), {FIRST_WRITER: number}, portion_bytes, 0.0))
        hot_bytes += portion_bytes
        if hot_bytes >= settings.commit_bytes:
            write_files(storage, in_order(joined(hot)))
            hot, hot_bytes = [], 0
    if hot:
        write_files(storage, in_order(joined(hot)))
    return sum(len(batch.events) for batch in batches) / (time.perf_counter() - began)


def _portions(batches: Sequence[Batch], portion_bytes: int) -> list[list[Batch]]:
    portions: list[list[Batch]] = []
    size = portion_bytes
    for batch in batches:
        if size >= portion_bytes:
            portions.append([])
            size = 0
        portions[-1].append(batch)
        size += len(batch.events)
    return portions
