"""What is read of a file, decompressed."""

import io

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tailrace.cli.file_chunks import read_chunks


@given(st.lists(st.binary(max_size=400), min_size=1, max_size=3), st.integers(min_value=1, max_value=30))
def test_a_zstd_file_is_read_whole_and_one_cut_off_is_refused(parts: list[bytes], lost: int) -> None:
    packed = [zstandard.ZstdCompressor().compress(part) for part in parts]
    assert b"".join(read_chunks(io.BytesIO(b"".join(packed)))) == b"".join(parts)
    cut = b"".join(packed)[: -min(lost, len(packed[-1]) - 1)]
    with pytest.raises(EOFError):
        list(read_chunks(io.BytesIO(cut), ".zst"))
