"""Following several logs: all that is durable is delivered, once and in order, whatever fails on the way."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from log.kit import make_batch, open_log
from support.append import append_now
from support.waiting import wait_until

from tailrace.events import Batch, Overloaded
from tailrace.log import DurableMark, LocalLog, LogReader, Subscription
from tailrace.server.workers import follower
from tailrace.server.workers.follower import FollowedLog, LogFollower


class Followed:
    """Logs that are followed without being told of: a catch-up alone wakes the follower in time."""

    def __init__(self, directory: Path, names: tuple[str, ...], stack: ExitStack) -> None:
        self.delivered: dict[str, list[int]] = {name: [] for name in names}
        self.published: list[int] = []
        self.failures = 0  # of the next deliveries
        self.logs: dict[str, LocalLog] = {}
        followed = []
        for name in names:
            mark = DurableMark()
            self.logs[name] = stack.enter_context(open_log(directory / name, mark=mark))
            told, telling = os.pipe()
            stack.callback(os.close, told)
            stack.callback(os.close, telling)
            reader = LogReader(directory / name, mark, position=0, add_damage=lambda damage: None)
            followed.append(FollowedLog(name, reader, Subscription(self._deliver(name)), told))
        self.follower = LogFollower(followed, published=self._publish, note_pressure=lambda: False)
        self.follower.start()

    def _deliver(self, name: str):  # type: ignore[no-untyped-def]
        def deliver(group: list[tuple[int, Batch]]) -> None:
            if self.failures:
                self.failures -= 1
                raise OSError("not now")
            self.delivered[name] += [position for position, _ in group]

        return deliver

    def _publish(self, group: list[tuple[int, Batch]]) -> None:
        self.published += [position for position, _ in group]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def test_a_catch_up_has_what_was_durable_in_every_log(tmp_path: Path, stack: ExitStack) -> None:
    logs = Followed(tmp_path, ("a", "b"), stack)
    for number in range(1, 40):
        append_now(logs.logs["a"], make_batch(n=number))
        if number % 3 == 0:
            append_now(logs.logs["b"], make_batch(n=number))
        logs.follower.catch_up(30)
        assert logs.delivered == {"a": list(range(1, number + 1)), "b": list(range(1, number // 3 + 1))}
    assert sorted(logs.published) == sorted([*logs.delivered["a"], *logs.delivered["b"]])
    logs.follower.close()


def test_what_could_not_be_delivered_is_delivered_before_what_comes_later(
    tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "RETRY_S", 0.001)
    logs = Followed(tmp_path, ("a",), stack)
    logs.failures = 3
    append_now(logs.logs["a"], make_batch(n=1))
    append_now(logs.logs["a"], make_batch(n=2))
    logs.follower.catch_up(30)
    assert logs.delivered == {"a": [1, 2]}
    assert logs.published == [1, 2]
    logs.follower.close()


def test_what_was_read_before_a_failure_is_delivered(
    tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "RETRY_S", 0.001)
    failures = [OSError("the disk")]
    advance = LogReader.advance

    def failing(reader: LogReader) -> Iterator[tuple[int, Batch]]:
        for number, each in enumerate(advance(reader)):
            yield each
            if number == 1 and failures:
                raise failures.pop()

    monkeypatch.setattr(LogReader, "advance", failing)
    logs = Followed(tmp_path, ("a",), stack)
    for number in range(5):
        logs.logs["a"].append(make_batch(n=number), lambda *_: None)
    append_now(logs.logs["a"], make_batch(n=5))
    wait_until(lambda: not failures)
    logs.follower.catch_up(30)
    assert logs.delivered == {"a": [1, 2, 3, 4, 5, 6]}
    logs.follower.close()


def test_a_catch_up_ends_in_words_where_nothing_is_delivered(tmp_path: Path, stack: ExitStack) -> None:
    logs = Followed(tmp_path, ("a",), stack)
    logs.failures = 10**9
    append_now(logs.logs["a"], make_batch(n=1))
    with pytest.raises(Overloaded, match="still being read"):
        logs.follower.catch_up(0.05)
    logs.failures = 0
    logs.follower.close()
    assert logs.delivered == {"a": [1]}
    logs.follower.catch_up(30)  # after the end there is nothing to wait for
