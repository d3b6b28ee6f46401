"""An object store: a real S3 server, and what fails before it in words that any client may see."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import obstore
import pytest
from obstore.store import LocalStore
from support.s3 import Fault, Proxy, S3Server

from tailrace.storage import object_store
from tailrace.storage.object_store import (
    ObjectExists,
    ObjectMissing,
    ObjectStore,
    ObjectStoreUnavailable,
    open_s3,
)


@pytest.fixture
def store(s3: S3Server, proxy: Proxy) -> ObjectStore:
    """Return a store on the S3 server, behind a proxy, in which nothing is."""
    return open_s3(s3.url())


@contextmanager
def deaf_server() -> Iterator[str]:
    """Yield the address of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_objects_are_put_read_listed_and_deleted(store: ObjectStore) -> None:
    for number in range(3):
        store.create(f"a/{number}", b"0123456789")
    store.create("ab/0", b"")
    store.overwrite("a/1", b"x")

    assert store.read("a/0") == b"0123456789"
    assert store.read("a/1") == b"x"
    assert store.read_end("a/0", 3) == (b"789", 10)
    assert store.read_end("a/0", 300) == (b"0123456789", 10)
    assert store.read_ranges("a/0", [(0, 2), (7, 3)]) == [b"01", b"789"]
    assert [(each.name, each.size_bytes) for each in store.listing("a")] == [("a/0", 10), ("a/1", 1), ("a/2", 10)]
    assert [each.name for each in store.listing("a", after="a/1")] == ["a/2"]
    store.delete(["a/0", "a/2", "a/7"])
    assert [each.name for each in store.listing("a")] == ["a/1"]
    store.delete([])
    for read in (store.read, lambda name: store.read_end(name, 1), lambda name: store.read_ranges(name, [(0, 1)])):
        with pytest.raises(ObjectMissing):
            read("a/0")


def test_of_puts_of_a_new_object_at_the_same_time_one_wins(store: ObjectStore) -> None:
    for race in range(2):
        won: list[bytes] = []

        def put(content: bytes, name: str = f"race/{race}", won: list[bytes] = won) -> None:
            try:
                store.create(name, content)
            except ObjectExists:
                return
            won.append(content)

        threads = [threading.Thread(target=put, args=(str(number).encode(),)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert won == [store.read(f"race/{race}")]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("refused", "the object store answers 403 AccessDenied"),
        ("slow down", "the object store answers 503 SlowDown"),
        ("cut", "the object store cannot be reached, or breaks off"),
        ("cut after it was done", "the object store cannot be reached, or breaks off"),
        ("error after it was done", "the object store answers 500 InternalError"),
    ],
)
def test_what_fails_is_told_and_not_tried_again(store: ObjectStore, proxy: Proxy, fault: Fault, told: str) -> None:
    proxy.fault = lambda *_: fault
    with pytest.raises(ObjectStoreUnavailable) as failed:
        store.create("a", b"content")
    assert failed.value.message == told
    assert len(proxy.requests) == 1
    for call in (
        lambda: store.overwrite("b", b""),
        lambda: store.read("a"),
        lambda: store.read_end("a", 1),
        lambda: store.read_ranges("a", [(0, 1)]),
        lambda: store.listing("x"),
        lambda: store.delete(["b"]),
    ):
        with pytest.raises(ObjectStoreUnavailable, match="the object store"):
            call()
    proxy.reset()
    if "done" in fault:
        with pytest.raises(ObjectExists):
            store.create("a", b"other")
    else:
        store.create("a", b"other")


def test_a_store_that_does_not_answer_is_waited_for_no_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "REQUEST_TIMEOUT_S", 0.05)
    with deaf_server() as endpoint:
        for name, value in S3Server(0).environment(endpoint).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(ObjectStoreUnavailable, match="does not answer in time"):
            open_s3("s3://events/nothing").create("a", b"")


def test_a_url_of_nothing_known_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ftp://x/y is no object store"):
        open_s3("ftp://x/y")


def test_deleting_goes_on_behind_a_file_that_is_not_there(tmp_path: object) -> None:
    store = ObjectStore(LocalStore(str(tmp_path)), "file:///")
    store.create("a", b"")
    store.delete(["missing", "a"])
    assert obstore.list(LocalStore(str(tmp_path))).collect() == []
