"""The schedule: what runs when, and what is sent, by a clock that the tests move."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.receivers import HttpReceiver, http_receiver
from support.waiting import wait_until

from tailrace.access import Grant
from tailrace.events import DatasetNotFound, DiskFull
from tailrace.monitors import (
    DeliverySettings,
    Monitor,
    MonitorQuery,
    MonitorStore,
    NotificationSender,
    Notifier,
    Runner,
    ScheduledMonitor,
    delete_records,
    read_notifier,
)
from tailrace.monitors.runner import RETRY_AFTER_S, SECOND_NS, next_run_ns
from tailrace.monitors.store import HistoryEntry, PendingNotification
from tailrace.query import AplResult
from tailrace.query.apl_result import AplField, AplStatus, AplTable
from tailrace.storage.database import Database

MINUTE = 60 * SECOND_NS
DAY = 24 * 60 * MINUTE
START = 1_700_000_000 * SECOND_NS


def answer(*values: float) -> AplResult:
    rows = pa.table({"n": pa.array(values, pa.float64())})
    return AplResult((AplTable("0", (AplField("n", "float"),), rows, aggregated=True),), AplStatus(1, 1, 1), ("d",))


def events(*times_ns: int) -> AplResult:
    """Events, newest first, as queries answer them."""
    newest = sorted(times_ns, reverse=True)
    times = pa.array([time // 1000 for time in newest], pa.timestamp("us", "UTC"))
    rows = pa.table({"_time": times, "n": pa.array(range(len(newest)), pa.int64())})
    fields = (AplField("_time", "datetime"), AplField("n", "integer"))
    return AplResult((AplTable("0", fields, rows),), AplStatus(1, len(newest), len(newest)), ("d",))


class World:
    """A runner over a real store and a real receiver, with answers that the test gives and a clock that it moves."""

    def __init__(self, database: Database, receiver: HttpReceiver) -> None:
        self.now_ns = START
        self.receiver = receiver
        self.database = database
        self.store = MonitorStore(database)
        self.defined: dict[str, ScheduledMonitor] = {}
        self.notifiers: dict[str, Notifier] = {"hook": self.hook()}
        self.asked: list[MonitorQuery] = []
        self.answers: Callable[[MonitorQuery], AplResult] = lambda query: answer(11)
        self.runner = self.started()

    def started(self) -> Runner:
        sender = NotificationSender(DeliverySettings(private=True))
        return Runner(self.store, self, sender, concurrency=2, clock_ns=lambda: self.now_ns)

    def hook(self, **more: Any) -> Notifier:
        return read_notifier({"name": "hook", "properties": {"webhook": {"url": self.receiver.url}}, **more})

    def monitors(self) -> list[ScheduledMonitor]:
        return list(self.defined.values())

    def notifier(self, organisation: str, notifier_id: str) -> Notifier | None:
        return self.notifiers.get(notifier_id) if organisation == "o" else None

    def run_query(self, query: MonitorQuery) -> AplResult:
        self.asked.append(query)
        return self.answers(query)

    def define(self, name: str = "m", **more: Any) -> None:
        made: dict[str, Any] = {
            "name": name, "type": "Threshold", "apl_query": name, "operator": "Above", "threshold": 10.0,
            "notifier_ids": ("hook",),
        }  # fmt: skip
        self.defined[name] = ScheduledMonitor(name, "o", Monitor(**(made | more)), Grant(name, "api", "u", "o"))
        self.store.make_due(name, "o")
        self.runner.changed(name)

    def delete_records(self, name: str) -> None:
        with self.database.changing() as connection:
            delete_records(connection, name)

    async def settle(self) -> None:
        """Return once nothing is running and nothing is due."""
        idle_ticks = 0
        while idle_ticks < 2:  # what ended during the first may have made more due
            next_ns = await self.runner.tick()
            idle_ticks = idle_ticks + 1 if next_ns is None or next_ns > self.now_ns else 0
            if self.runner._tasks:
                idle_ticks = 0
                await asyncio.wait(list(self.runner._tasks.values()))

    async def at(self, seconds: float) -> None:
        """Let all happen that is due by then."""
        self.now_ns = START + int(seconds * SECOND_NS)
        await self.settle()

    def history(self, name: str = "m") -> list[tuple[str, str]]:
        return [(entry.kind, entry.text) for entry in self.store.history(name)]

    def kinds(self, name: str = "m") -> list[str]:
        return [kind for kind, _ in self.history(name)]


@pytest.fixture
def run_scene(tmp_path: Path) -> Callable[[Callable[[World], Awaitable[None]]], None]:
    """Run a scene in a world of its own."""

    def played(scene: Callable[[World], Awaitable[None]]) -> None:
        async def run() -> None:
            with http_receiver() as receiver, Database.open(tmp_path / "tailrace.db") as database:
                world = World(database, receiver)
                try:
                    await scene(world)
                finally:
                    await world.runner.stop()

        asyncio.run(run())

    return played


RunScene = Callable[[Callable[[World], Awaitable[None]]], None]


def test_a_monitor_runs_at_once_and_then_on_its_interval(run_scene: RunScene) -> None:
    async def scene(world: World) -> None:
        world.define(interval_minutes=2, range_minutes=5, second_delay=10)
        for second in (0, 60, 119, 120, 239, 240):
            await world.at(second)
        assert [(each.start_ns - START, each.end_ns - START) for each in world.asked] == [
            (second * SECOND_NS - 5 * MINUTE, second * SECOND_NS) for second in (-10, 110, 230)
        ]
        assert {(each.apl, each.reader.organisation) for each in world.asked} == {("m", "o")}

    run_scene(scene)


@pytest.mark.parametrize(
    ("due", "now", "later"),
    [(0, 1000, 1120), (1000, 1000, 1120), (1000, 1119, 1120), (1000, 1120, 1240), (1000, 9999, 10_000)],
)
def test_missed_runs_are_not_made_up_for(due: int, now: int, later: int) -> None:
    assert next_run_ns(due * SECOND_NS, 2, now * SECOND_NS) == later * SECOND_NS


def test_an_alert_is_told_when_it_opens_and_when_it_closes(run_scene: RunScene) -> None:
    async def scene(world: World) -> None:
        world.define()
        await world.at(0)
        await world.at(60)
        world.answers = lambda query: answer(1)
        await world.at(120)
        assert [request.json["action"] for request in world.receiver.requests] == ["Open", "Closed"]
        assert world.kinds() == ["open", "delivered", "closed", "delivered"]

    run_scene(scene)


def test_a_disabled_monitor_does_not_run_and_one_that_is_put_off_runs_then(run_scene: RunScene) -> None:
    async def scene(world: World) -> None:
        world.define("off", disabled=True)
        world.define("later", disabled_until=datetime.fromtimestamp(START / SECOND_NS + 90, UTC))
        await world.at(0)
        await world.at(89)
        assert world.asked == []
        await world.at(90)
        assert [each.apl for each in world.asked] == ["later"]
        world.define("off")
        await world.at(91)
        assert [each.apl for each in world.asked] == ["later", "off"]

    run_scene(scene)


def test_a_failing_monitor_stops_no_other_and_says_once_why(run_scene: RunScene) -> None:
    async def scene(world: World) -> None:
        def answers(query: MonitorQuery) -> AplResult:
            if query.apl == "bad":
                raise DatasetNotFound("dataset 'x' not found")
            if query.apl == "worse":
                raise RuntimeError("a secret")
            return answer(11)

        world.answers = answers
        for name in ("bad", "worse", "m"):
            world.define(name)
        await world.at(0)
        await world.at(60)
        assert world.history("bad") == [("error", "dataset 'x' not found")]
        assert world.history("worse") == [("error", "internal error; the server's log has it")]
        assert world.kinds() == ["open", "delivered"]
        bad = world.store.status("bad")
        assert bad is not None
        assert bad.error == "dataset 'x' not found"
        world.answers = lambda query: answer(1)
        await world.at(120)
        world.answers = answers
        await world.at(180)
        assert world.kinds("bad") == ["error", "error"]

    run_scene(scene)


def test_an_error_leaves_what_is_open_open(run_scene: RunScene) -> None:
    async def scene(world: World) -> None:
        def fail(query: MonitorQuery) -> AplResult:
            raise DatasetNotFound("gone")

        world.define()
        await world.at(0)
        world.answers = fail
        await world.at(60)
        world.answers = lambda query: answer(11)
        await world.at(120)
        assert world.kinds() == ["open", "delivered", "error"]

    run_scene(scene)


def test_state_and_schedule_survive_a_restart(run_scene: RunScene) -> None:
    async def scene(world: World) -> None:
        world.define(interval_minutes=10, trigger_from_n_runs=2)
        await world.at(0)
        await world.runner.stop()
        world.runner = world.started()
        await world.at(300)
        assert len(world.asked) == 1
        await world.at(600)
        assert world.kinds() == ["open", "delivered"]

    run_scene(scene)


def test_what_was_not_sent_before_a_restart_is_sent_after_it(run_scene: RunScene) -> None:
    async def scene(world: World) -> None:
        world.receiver.statuses = [503]
        world.define(interval_minutes=60)
        await world.at(0)
        await world.runner.stop()
        world.runner = world.started()
        world.receiver.statuses = [200]
        await world.at(RETRY_AFTER_S[0] - 1)
        assert world.kinds() == ["open"]
        await world.at(RETRY_AFTER_S[0])
        assert world.kinds() == ["open", "delivered"]
        assert len(world.receiver.requests) == 2

    run_scene(scene)


def test_sending_is_tried_again_and_then_given_up(run_scene: RunScene) -> None:
    async def scene(world: World) -> None:
        world.receiver.statuses = [503]
        world.define(interval_minutes=60)
        second = 0
        for wait in (0, *RETRY_AFTER_S):
            second += wait
            await world.at(second)
        assert world.kinds() == ["open", "failed"]
        assert "the receiver answered 503" in world.history()[1][1]
        assert world.store.history("m")[1].attempts == len(world.receiver.requests) == 4

    run_scene(scene)


def test_what_was_sent_is_not_sent_again_while_the_disk_is_full(
    run_scene: RunScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tailrace.monitors.runner.STORE_RETRY_NS", 0)

    async def scene(world: World) -> None:
        complete = world.store.complete
        refused: list[str] = []

        def refuse(pending: PendingNotification, entry: HistoryEntry) -> None:
            if len(refused) < 3:
                refused.append(entry.kind)
                raise DiskFull("no space is left on the disk")
            complete(pending, entry)

        monkeypatch.setattr(world.store, "complete", refuse)
        world.define()
        await world.at(0)
        assert len(world.receiver.requests) == 1
        assert refused == ["delivered"] * 3
        assert world.kinds() == ["open", "delivered"]

    run_scene(scene)


def test_what_arrives_while_what_is_pending_is_read_is_sent_once(
    run_scene: RunScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(world: World) -> None:
        world.notifiers["late"] = world.hook()
        read, look_up, is_read = world.store.pending, world.notifier, threading.Event()

        def late(organisation: str, notifier_id: str) -> Notifier | None:
            assert notifier_id != "late" or is_read.wait(30)
            return look_up(organisation, notifier_id)

        def pending(until_ns: int, limit: int) -> list[PendingNotification]:
            found = read(until_ns, limit)
            if len(found) == 1:  # the late one, which is on its way
                is_read.set()
                wait_until(lambda: not world.runner._tasks)
            return found

        monkeypatch.setattr(world, "notifier", late)
        monkeypatch.setattr(world.store, "pending", pending)
        world.define(notifier_ids=("hook", "late"))
        await world.runner.tick()
        await asyncio.to_thread(wait_until, lambda: "open" in world.kinds())
        await world.runner.tick()
        await asyncio.to_thread(wait_until, lambda: "delivered" in world.kinds())
        await world.runner.tick()
        await world.settle()
        assert world.kinds() == ["open", "delivered", "delivered"]
        assert len(world.receiver.requests) == 2

    run_scene(scene)


def test_a_notifier_that_is_missing_disabled_or_only_kept_is_in_the_history(run_scene: RunScene) -> None:
    async def scene(world: World) -> None:
        of = {"name": "d", "properties": {"discord": {"discordChannel": "c", "discordToken": "t"}}}
        world.notifiers["discord"] = read_notifier(of)
        world.notifiers["off"] = world.hook(disabledUntil="2100-01-01T00:00:00Z")
        world.define(notifier_ids=("none", "discord", "off"))
        await world.at(0)
        assert world.receiver.requests == []
        assert sorted(world.history()[1:]) == [
            ("failed", "there is no notifier none"),
            ("skipped", "notifier hook is disabled until 2100-01-01T00:00:00+00:00"),
            ("skipped", "notifiers of the kind discord are kept, but this server does not deliver them"),
        ]

    run_scene(scene)


def test_a_monitor_that_is_deleted_is_forgotten_even_while_it_runs(run_scene: RunScene) -> None:
    async def scene(world: World) -> None:
        def delete(query: MonitorQuery) -> AplResult:
            world.delete_records("m")
            del world.defined["m"]
            return answer(11)

        world.answers = delete
        world.define()
        await world.at(0)
        world.runner.changed("m")
        await world.at(120)
        assert world.receiver.requests == []
        assert (len(world.asked), world.history(), world.store.status("m")) == (1, [], None)

    run_scene(scene)


def test_a_monitor_that_is_changed_while_it_runs_runs_again(run_scene: RunScene) -> None:
    async def scene(world: World) -> None:
        changed: list[int] = []

        def change(query: MonitorQuery) -> AplResult:
            if not changed:
                changed.append(1)
                asyncio.run_coroutine_threadsafe(define(), loop).result()
            return answer(1)

        async def define() -> None:
            world.define(threshold=0.0)

        loop = asyncio.get_running_loop()
        world.answers = change
        world.define()
        await world.at(0)
        assert len(world.asked) == 2
        assert world.kinds() == ["open", "delivered"]

    run_scene(scene)


def test_a_match_monitor_asks_about_the_time_in_which_it_could_not_run(run_scene: RunScene) -> None:
    async def scene(world: World) -> None:
        world.answers = lambda query: events(
            *(at for at in (START - 5, START + 30 * SECOND_NS) if query.start_ns <= at < query.end_ns)
        )
        world.define(type="MatchEvent", operator="", range_minutes=1)
        await world.at(0)
        await world.at(600)
        assert [(each.start_ns - START, each.end_ns - START) for each in world.asked] == [
            (-MINUTE, 0),
            (0, 10 * MINUTE),
        ]
        times = [request.json["event"]["matchedEvent"]["_time"] for request in world.receiver.requests]
        assert times == ["2023-11-14T22:13:19.999999Z", "2023-11-14T22:13:50Z"]
        await world.at(3 * 24 * 3600)
        assert world.asked[-1].start_ns == world.asked[-1].end_ns - DAY

    run_scene(scene)


def test_an_anomaly_monitor_asks_about_the_days_before_at_the_same_time(run_scene: RunScene) -> None:
    async def scene(world: World) -> None:
        world.answers = lambda query: answer(100 if query.end_ns < START else 150)
        world.define(type="AnomalyDetection", operator="Above", compare_days=2, range_minutes=5)
        await world.at(0)
        assert [(START - each.end_ns) // DAY for each in world.asked] == [0, 1, 2]
        assert {each.end_ns - each.start_ns for each in world.asked} == {5 * MINUTE}
        assert world.receiver.requests[0].json["event"]["body"] == (
            "Current value of 150 is above the expected value of 100 by more than 10%"
        )

    run_scene(scene)


def test_mpl_is_not_run_and_the_history_says_so(run_scene: RunScene) -> None:
    async def scene(world: World) -> None:
        world.define(apl_query="", mpl_query="metrics:x")
        await world.at(0)
        assert world.asked == []
        assert "does not run MPL" in world.history()[0][1]

    run_scene(scene)


def test_a_monitor_that_the_schedule_does_not_know_yet_is_found(run_scene: RunScene) -> None:
    async def scene(world: World) -> None:
        world.define()
        world.delete_records("m")  # as if the server had ended between the two
        await world.at(0)
        assert world.kinds() == ["open", "delivered"]

    run_scene(scene)


def test_the_schedule_sleeps_until_something_is_due_and_wakes_for_a_change(run_scene: RunScene) -> None:
    async def scene(world: World) -> None:
        assert await world.runner.tick() is None
        world.define(disabled=True)
        assert await world.runner.tick() is None
        world.define(interval_minutes=7)
        await world.at(0)
        assert await world.runner.tick() == START + 7 * MINUTE
        world.runner.start()
        world.define("other")
        await asyncio.to_thread(wait_until, lambda: "other" in [each.apl for each in world.asked])

    run_scene(scene)


def test_a_schedule_that_is_woken_as_it_is_stopped_ends(run_scene: RunScene) -> None:
    async def scene(world: World) -> None:
        world.define()
        await world.at(0)
        for turns in range(8):  # of the event loop, between the waking and the stop
            runner = world.started()
            runner.start()
            await asyncio.to_thread(runner._threads.submit(lambda: None).result)
            runner.changed("m")
            for _ in range(turns):
                await asyncio.sleep(0)
            stopping = asyncio.create_task(runner.stop())
            ended, _ = await asyncio.wait([stopping], timeout=10)
            assert ended

    run_scene(scene)
