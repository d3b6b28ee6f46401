"""Files of a store on this machine: within their bytes, never one in use, and gone at any moment without harm."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from obstore.store import MemoryStore

from tailrace.events import Overloaded, QueryFailed
from tailrace.storage.faults import ObjectStoreFault
from tailrace.storage.file_cache import FileCache
from tailrace.storage.object_files import ObjectFiles

NAMES = ("d/a", "d/b", "d/c", "e/d")
SIZE = 100
HOLDING = """
import sys
from pathlib import Path
from obstore.store import MemoryStore
from tailrace.storage.file_cache import FileCache
from tailrace.storage.object_files import ObjectFiles

cache = FileCache(Path(sys.argv[1]), ObjectFiles(MemoryStore(), "memory://here"), 10**6, lambda path, size: "")
with cache.hold([sys.argv[2]]):
    print("held", flush=True)
    sys.stdin.read()
"""


class CountingStore(ObjectFiles):
    """A store in memory, which counts what is downloaded; `fails` says of a download whether it is to break off."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(), "memory://here")
        self.downloads: list[str] = []
        self.fails: Callable[[int], bool] = lambda number: False

    def download(self, name: str, file: BinaryIO) -> int:
        self.downloads.append(name)
        if self.fails(len(self.downloads)):
            file.write(b"half")
            raise ObjectStoreFault("the object store breaks off")
        return super().download(name, file)


@pytest.fixture
def store() -> CountingStore:
    store = CountingStore()
    for name in NAMES:
        store.write(name, name.encode().ljust(SIZE, b"."))
    return store


def size_fault(path: Path, size: int) -> str:
    return "" if path.stat().st_size == size else "its size is another one"


@pytest.fixture
def cache(tmp_path: Path, store: CountingStore) -> Iterator[FileCache]:
    cache = FileCache(tmp_path / "cache", store, 3 * SIZE, size_fault)
    yield cache
    cache.close()


def read(cache: FileCache, *names: str) -> list[bytes]:
    with cache.hold(names):
        return [cache.path(name).read_bytes().rstrip(b".") for name in names]


def there(cache: FileCache) -> set[str]:
    return {path.relative_to(cache.root).as_posix() for path in cache.root.rglob("*") if path.is_file()}


def test_a_file_is_downloaded_once(cache: FileCache, store: CountingStore) -> None:
    assert read(cache, "d/a", "d/b", "d/a") == [b"d/a", b"d/b", b"d/a"]
    assert read(cache, "d/a") == [b"d/a"]
    assert sorted(store.downloads) == ["d/a", "d/b"]
    assert (cache.hits, cache.misses, cache.bytes) == (1, 2, 2 * SIZE)


def test_many_that_want_it_at_the_same_time_get_one_download(cache: FileCache, store: CountingStore) -> None:
    together = threading.Barrier(8)
    found: list[Any] = []

    def want() -> None:
        together.wait()
        found.extend(read(cache, "d/a"))

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [b"d/a"] * 8
    assert store.downloads == ["d/a"]


def test_what_was_not_used_for_the_longest_time_makes_space(cache: FileCache) -> None:
    for name in NAMES[:3]:
        read(cache, name)
    before = cache.path("d/a").stat().st_mtime_ns
    read(cache, "d/a")
    assert cache.path("d/a").stat().st_mtime_ns == before
    read(cache, "e/d")
    assert there(cache) == {"d/a", "d/c", "e/d"}


def test_what_is_in_use_stays_and_more_is_refused(cache: FileCache) -> None:
    with cache.hold(NAMES[:3]):
        with pytest.raises(Overloaded, match=f"cache_bytes = {3 * SIZE}"), cache.hold(["e/d"]):
            pass
        assert there(cache) == set(NAMES[:3])
    assert read(cache, "e/d") == [b"e/d"]
    with pytest.raises(Overloaded), cache.hold(NAMES):
        pass


def test_a_file_larger_than_the_cache_is_refused(cache: FileCache, store: CountingStore) -> None:
    store.write("large", bytes(3 * SIZE + 1))
    with pytest.raises(QueryFailed, match="cache_bytes"), cache.hold(["large"]):
        pass


@pytest.mark.process
def test_what_another_process_uses_stays(cache: FileCache) -> None:
    for name in NAMES[:3]:
        read(cache, name)
    command = [sys.executable, "-c", HOLDING, str(cache.root.parent), "d/a"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        for name in NAMES[1:3]:
            os.utime(cache.path(name))
        read(cache, "e/d")
        assert "d/a" in there(cache)
        other.communicate("")
    read(cache, "d/b", "d/c")
    assert "d/a" not in there(cache)


def test_the_directory_may_be_deleted_at_any_moment(cache: FileCache, store: CountingStore) -> None:
    with cache.hold(["d/a"]):
        shutil.rmtree(cache.root.parent)
        assert cache.missing(["d/a"])
        assert read(cache, "d/a", "d/b") == [b"d/a", b"d/b"]
    assert read(cache, "d/a", "d/c") == [b"d/a", b"d/c"]


def test_a_download_that_breaks_off_is_made_again_once(cache: FileCache, store: CountingStore) -> None:
    store.fails = lambda number: number == 1
    assert read(cache, "d/a") == [b"d/a"]
    store.fails = lambda number: True
    with pytest.raises(ObjectStoreFault, match="breaks off"), cache.hold(["d/b"]):
        pass
    assert store.downloads == ["d/a", "d/a", "d/b", "d/b"]
    assert there(cache) == {"d/a"}
    assert list((cache.root.parent / "partial").iterdir()) == []
    store.fails = lambda number: False
    assert read(cache, "d/b") == [b"d/b"]


def test_a_damaged_file_and_a_missing_one_are_no_files(cache: FileCache, tmp_path: Path, store: CountingStore) -> None:
    damaged = FileCache(tmp_path / "other", store, 3 * SIZE, lambda path, size: "its content is another one")
    with pytest.raises(ObjectStoreFault, match=r"a is damaged in the object store: its content"), damaged.hold(["d/a"]):
        pass
    assert there(damaged) == set()
    with pytest.raises(FileNotFoundError, match="there is no object d/none"), cache.hold(["d/none"]):
        pass


def test_who_waits_can_give_up(cache: FileCache, store: CountingStore) -> None:
    go_on = threading.Event()
    store.fails = lambda number: not go_on.wait(30)

    def give_up() -> None:
        raise QueryFailed("the client is gone")

    with pytest.raises(QueryFailed, match="gone"), cache.hold(["d/a"], give_up):
        pass
    go_on.set()
    assert read(cache, "d/a") == [b"d/a"]


def test_written_files_are_adopted_as_far_as_there_is_space(cache: FileCache, tmp_path: Path) -> None:
    with cache.scratch() as scratch:
        for number in range(2):
            (scratch / str(number)).write_bytes(bytes(SIZE))
        cache.adopt(scratch / "0", "d/new")
        with ExitStack() as held:
            held.enter_context(cache.hold(["d/new", "d/a", "d/b"]))
            cache.adopt(scratch / "1", "d/newer")
        assert there(cache) == {"d/new", "d/a", "d/b"}
    assert not scratch.exists()
    cache.forget(["d/new", "d/none"])
    cache.forget_directory("d")
    assert there(cache) == set()
