"""What is read of a file, decompressed."""

import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tailrace.cli.file_chunks import as_they_come, opened, read_chunks


@given(st.lists(st.binary(max_size=400), min_size=1, max_size=3), st.integers(min_value=1, max_value=30))
def test_a_zstd_file_is_read_whole_and_one_cut_off_is_refused(parts: list[bytes], lost: int) -> None:
    packed = [zstandard.ZstdCompressor().compress(part) for part in parts]
    assert b"".join(read_chunks(io.BytesIO(b"".join(packed)))) == b"".join(parts)
    cut = b"".join(packed)[: -min(lost, len(packed[-1]) - 1)]
    with pytest.raises(EOFError):
        list(read_chunks(io.BytesIO(cut), ".zst"))


def test_the_thread_that_reads_ends_quietly_when_its_file_is_closed_under_it(tmp_path: Path) -> None:
    file, closed, readers = tmp_path / "log", threading.Event(), []
    file.write_bytes(b"a line\n" * 1_000_000)

    def held_up(chunks: Iterator[bytes]) -> Iterator[bytes]:
        readers.append(threading.current_thread())
        yield next(chunks)
        closed.wait()
        yield from chunks

    with opened(file) as raw, as_they_come(held_up(read_chunks(raw)), threading.Event()) as coming:
        assert next(coming)
    closed.set()

    readers[0].join(60)  # an error in it fails the test
    assert not readers[0].is_alive()


def test_the_thread_that_reads_ends_when_nobody_takes_what_it_read() -> None:
    readers = []

    def endless() -> Iterator[bytes]:
        readers.append(threading.current_thread())
        while True:
            yield b"a line\n"

    with as_they_come(endless(), threading.Event()) as coming:
        next(coming)

    readers[0].join(60)
    assert not readers[0].is_alive()
