"""Rows, time, memory and how many run at once are limited, and every refusal names its limit."""

import threading
from collections.abc import Callable

import pytest
from query.kit import Desk

from tailrace.events import Overloaded, QueryFailed
from tailrace.query import AplRequest, Interrupt, run_apl

ENDLESS = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b"


def test_an_answer_of_too_many_rows_is_refused(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(max_rows=10)

    assert len(desk.ask("SELECT * FROM range(10)")) == 10
    with pytest.raises(QueryFailed, match="query_max_rows = 10"):
        desk.run("SELECT * FROM range(11)")


def test_rows_are_limited_in_the_order_asked_for(open_desk: Callable[..., Desk]) -> None:
    assert open_desk(max_rows=3).column("SELECT i FROM range(100) t(i) ORDER BY i DESC LIMIT 3") == [99, 98, 97]


def test_a_query_that_needs_too_much_memory_is_refused(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(memory_bytes=64 * 1024**2)

    with pytest.raises(QueryFailed, match=f"query_memory_bytes = {64 * 1024**2}"):
        desk.run("SELECT length(string_agg(repeat('x', 10000), ',')) FROM range(100000)")
    assert desk.column("SELECT 1") == [1]


def test_queries_beyond_the_concurrency_are_sent_away_after_the_time_of_a_query(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(concurrency=1, timeout_s=0.2)
    with desk.engine._slots, pytest.raises(Overloaded, match="query_concurrency") as caught:
        desk.run("SELECT 1")

    assert caught.value.retry_after_s
    assert desk.run("SELECT 1 AS n", interrupt=Interrupt(30.0)).table["n"].to_pylist() == [1]


def test_a_running_query_is_stopped_from_another_thread(desk: Desk) -> None:
    interrupt = Interrupt()
    threading.Timer(0.2, interrupt.stop, ["the client hung up"]).start()

    with pytest.raises(QueryFailed, match="the client hung up"):
        desk.run(ENDLESS, interrupt=interrupt)


def test_a_query_that_was_stopped_before_does_not_run(desk: Desk) -> None:
    interrupt = Interrupt()
    interrupt.stop("the client hung up")

    with pytest.raises(QueryFailed, match="the client hung up"):
        desk.run("SELECT 1", interrupt=interrupt)


def test_stopping_one_query_leaves_others_alone(desk: Desk) -> None:
    interrupt = Interrupt()
    started = threading.Event()
    answers: list[object] = []

    def ask() -> None:
        started.set()
        answers.append(desk.column("SELECT sum(hash(i)) > 0 FROM range(30000000) t(i)"))

    other = threading.Thread(target=ask)
    other.start()
    started.wait()
    threading.Timer(0.1, interrupt.stop, ["stopped"]).start()
    with pytest.raises(QueryFailed, match="stopped"):
        desk.run(ENDLESS, interrupt=interrupt)
    other.join()

    assert answers == [[True]]


def test_the_engine_closes_its_threads(desk: Desk) -> None:
    def watchers() -> int:
        return sum(thread.name == "tailrace-query-watch" for thread in threading.enumerate())

    before = watchers()
    desk.engine.close()

    assert watchers() == before - 1


def test_compiling_stops_when_the_time_of_a_query_is_over(desk: Desk) -> None:
    desk.put("logs", {"a": 1})
    many = ",".join(map(str, range(20_000)))
    visited: list[int] = []

    class Impatient(Interrupt):
        def check(self) -> None:
            visited.append(1)
            if len(visited) > 30_000:  # in the midst of compiling, after as many checks of parsing
                self.stop("the time is over")
            super().check()

    with pytest.raises(QueryFailed, match="the time is over"):
        run_apl(
            desk.lake, desk.engine, AplRequest(apl=f"logs | where a in ({many})"), check=_all, interrupt=Impatient()
        )
    assert len(visited) == 30_001


def test_a_query_whose_time_was_over_before_does_nothing(desk: Desk) -> None:
    desk.put("logs", {"a": 1})

    with pytest.raises(QueryFailed, match="query_timeout_s"):
        run_apl(desk.lake, desk.engine, AplRequest(apl="logs"), check=_all, interrupt=Interrupt(0.0))


def _all(dataset: str) -> None:
    """Every dataset may be read."""
