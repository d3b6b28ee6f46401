"""Runner of monitors: starts each when it is due and delivers the notifications, with one task on the event loop."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from msgspec import Struct

from tailrace.access import Grant
from tailrace.events import DiskFull, StorageUnavailable, TailraceError
from tailrace.monitors import observation
from tailrace.monitors.delivery import NotificationSender
from tailrace.monitors.evaluation import (
    MAX_MATCHES,
    MonitorState,
    Notice,
    Observation,
    RunOutcome,
    TooManyGroups,
    compare_days,
    evaluate,
)
from tailrace.monitors.monitor import Monitor
from tailrace.monitors.notifications import DeliveryFailed, NotDelivered, Notification, email, http_call
from tailrace.monitors.notifier import Notifier
from tailrace.monitors.store import HistoryEntry, HistoryKind, MonitorStatus, MonitorStore, PendingNotification
from tailrace.query import AplResult

logger = logging.getLogger(__name__)

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
DAY_NS = 24 * 60 * MINUTE_NS
NEVER_NS = 2**63 - 1  # the next start of a monitor that is disabled: later than any time
RETRY_AFTER_S = (10, 60, 300)  # after the first attempt, the second, the third; the fourth is the last
MAX_CATCH_UP_NS = DAY_NS  # how far a match monitor looks back after a time in which it could not run
MAX_CONCURRENT_DELIVERIES = 8
MAX_ROWS = 50_000  # of the result of a query
STORE_RETRY_NS = 10 * SECOND_NS  # before a store that failed is tried again


class ScheduledMonitor(Struct, frozen=True):
    """A monitor of an organisation, with the grant that its query runs under."""

    id: str
    organisation: str
    monitor: Monitor
    reader: Grant


class MonitorQuery(Struct, frozen=True):
    """A query of a monitor over [start, end), in Unix nanoseconds, with the grant that it runs under."""

    reader: Grant
    apl: str
    start_ns: int
    end_ns: int
    limit: int  # of rows, for a query that has none of its own


class Sources(Protocol):
    """The monitors, notifiers and queries that the runner works with. Methods may block: they are called in threads."""

    def monitors(self) -> list[ScheduledMonitor]:
        """Return the monitors of all organisations."""

    def notifier(self, organisation: str, notifier_id: str) -> Notifier | None:
        """Return a notifier of an organisation, None where there is none."""

    def run_query(self, query: MonitorQuery) -> AplResult:
        """Return the result; raise TailraceError."""


class Runner:
    """Runs monitors. To be constructed and used on one event loop; all times come from `clock_ns`."""

    def __init__(
        self,
        store: MonitorStore,
        sources: Sources,
        sender: NotificationSender,
        *,
        concurrency: int,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store = store
        self._sources = sources
        self._sender = sender
        self._clock_ns = clock_ns
        self._threads = ThreadPoolExecutor(concurrency, "tailrace-monitor")
        self._monitors: dict[str, ScheduledMonitor] = {}
        self._due_ns: dict[str, int] = {}
        self._monitors_changed = True  # since `_monitors` was read
        self._due_at_once: set[str] = set()  # ids of monitors
        self._woken = asyncio.Event()
        self._tasks: dict[str | int, asyncio.Task[None]] = {}  # by monitor id, or number of a notification
        self._outbox_changed = True  # since it was read
        self._next_delivery_ns: int | None = None
        self._scheduling: asyncio.Task[None] | None = None
        self.runs: Counter[str] = Counter()  # since the start, by result: ok, error
        self.notifications: Counter[str] = Counter()  # since the start, by result: delivered, failed, skipped

    def start(self) -> None:
        """Begin to run what is due, from now on."""
        self._scheduling = asyncio.create_task(self._schedule())

    async def stop(self) -> None:
        """Start no more work and cancel what is running; the next start of the server catches up."""
        tasks = [task for task in (self._scheduling, *self._tasks.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self._sender.close()

    def changed(self, monitor_id: str) -> None:
        """Reload the monitors and run this one at once: call it after a monitor was created, changed or deleted."""
        self._monitors_changed = True
        self._due_at_once.add(monitor_id)
        self._woken.set()

    async def tick(self) -> int | None:
        """Start everything that is due and not running; return when to call again, None if only after a change."""
        if self._monitors_changed:
            await self._reload()
        now_ns = self._clock_ns()
        for monitor_id, scheduled in self._monitors.items():
            if monitor_id not in self._tasks and self._next_start_ns(scheduled) <= now_ns:
                self._begin(monitor_id, partial(self._run, scheduled, now_ns))
        if self._outbox_changed or (self._next_delivery_ns is not None and self._next_delivery_ns <= now_ns):
            await self._send_pending(now_ns)
        # What is running wakes the schedule when it ends.
        idle = [scheduled for monitor_id, scheduled in self._monitors.items() if monitor_id not in self._tasks]
        times_ns = [start_ns for start_ns in map(self._next_start_ns, idle) if start_ns < NEVER_NS]
        if self._next_delivery_ns is not None:
            times_ns.append(self._next_delivery_ns)
        return min(times_ns, default=None)

    async def _schedule(self) -> None:
        while True:
            self._woken.clear()
            try:
                next_ns = await self.tick()
            except Exception:
                # The database may be unavailable: nothing is lost, and it is tried again after a pause.
                logger.exception("monitors could not be scheduled")
                self._monitors_changed = self._outbox_changed = True
                next_ns = self._clock_ns() + STORE_RETRY_NS
            if next_ns is None:
                await self._woken.wait()
                continue
            wait_s = max(next_ns - self._clock_ns(), 0) / SECOND_NS
            # Not asyncio.wait_for, which before Python 3.12 may go on where it is cancelled just as it is woken.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._woken.wait()

    async def _reload(self) -> None:
        self._monitors_changed = False
        changed, self._due_at_once = self._due_at_once, set()
        try:
            scheduled, due = await asyncio.to_thread(self._read)
        except BaseException:
            self._due_at_once |= changed
            raise
        # The next time of what is running is not in the store yet.
        running = [monitor_id for monitor_id in self._tasks if isinstance(monitor_id, str)]
        unstored = {monitor_id: self._due_ns[monitor_id] for monitor_id in running if monitor_id not in changed}
        self._monitors = {monitor.id: monitor for monitor in scheduled}
        # A run that began before a change may have written over it.
        self._due_ns = due | unstored | dict.fromkeys(changed, 0)

    def _read(self) -> tuple[list[ScheduledMonitor], dict[str, int]]:
        scheduled, due = self._sources.monitors(), self._store.due_times()
        for monitor in scheduled:
            if monitor.id not in due:  # stored by a version that made it due in a second transaction
                self._store.make_due(monitor.id, monitor.organisation)
                due[monitor.id] = 0
        return scheduled, due

    def _next_start_ns(self, scheduled: ScheduledMonitor) -> int:
        """Return when a monitor starts next, NEVER_NS while it is disabled."""
        monitor = scheduled.monitor
        if monitor.disabled:
            return NEVER_NS
        return max(self._due_ns[scheduled.id], _ns(monitor.disabled_until) if monitor.disabled_until else 0)

    def _begin(self, key: str | int, work: Callable[[], Awaitable[None]]) -> None:
        async def finish() -> None:
            try:
                await work()
            except Exception:
                logger.exception("a monitor or a notification failed unexpectedly")
            finally:
                del self._tasks[key]
                self._outbox_changed = self._outbox_changed or isinstance(key, int)
                self._woken.set()

        self._tasks[key] = asyncio.create_task(finish())

    # Running

    async def _run(self, scheduled: ScheduledMonitor, now_ns: int) -> None:
        due_ns = self._due_ns[scheduled.id]
        next_ns = next_run_ns(due_ns, scheduled.monitor.interval_minutes, now_ns)
        # Before the run, so that whatever becomes of it, it is not due again at once.
        self._due_ns[scheduled.id] = next_ns
        loop = asyncio.get_running_loop()
        result = await loop.run_in_executor(self._threads, self._run_once, scheduled, now_ns, next_ns)
        if result:
            self.runs[result] += 1
        self._outbox_changed = True

    def _run_once(self, scheduled: ScheduledMonitor, now_ns: int, next_ns: int) -> str:
        """Query, evaluate, and store the outcome; return ok, error, or "" where the monitor is gone."""
        before = self._store.status(scheduled.id)
        if before is None:
            return ""
        try:
            outcome, observed = self._outcome(scheduled, before.state, now_ns)
        except (TailraceError, TooManyGroups) as error:
            return self._failed(before, str(error), now_ns, next_ns)
        except Exception:
            logger.exception("monitor %s failed", scheduled.id)
            return self._failed(before, "internal error; the server's log has it", now_ns, next_ns)
        entries = [
            HistoryEntry(
                at_ns=now_ns,
                kind="open" if alert.action == "Open" else "closed",
                text=alert.body,
                check_id=alert.check_id,
                group=alert.group,
                value=alert.value,
            )
            for alert in outcome.alerts
        ]
        notifications = [
            (notifier, _notification(scheduled, notice, observed, now_ns))
            for notice in outcome.notices
            for notifier in scheduled.monitor.notifier_ids
        ]
        exists = self._store.finish(
            before, at_ns=now_ns, next_ns=next_ns, state=outcome.state, entries=entries, notifications=notifications
        )
        return "ok" if exists else ""

    def _failed(self, before: MonitorStatus, error: str, now_ns: int, next_ns: int) -> str:
        # An error that lasts is one entry, not one a minute.
        entries = [HistoryEntry(at_ns=now_ns, kind="error", text=error)] if error != before.error else []
        self._store.finish(before, at_ns=now_ns, next_ns=next_ns, state=before.state, error=error, entries=entries)
        return "error"

    def _outcome(self, scheduled: ScheduledMonitor, state: MonitorState, now_ns: int) -> tuple[RunOutcome, Observation]:
        monitor = scheduled.monitor
        end_ns = now_ns - monitor.second_delay * SECOND_NS
        start_ns = end_ns - monitor.range_minutes * MINUTE_NS
        if monitor.type == "MatchEvent":
            start_ns = _match_start_ns(start_ns, end_ns, state)
            result = self._run_query(scheduled, start_ns, end_ns, MAX_MATCHES)
            matches = observation.matches(result.tables[0])
            older = max(result.status.rows_matched - len(matches), 0) if len(matches) >= MAX_MATCHES else 0
            observed = Observation(start_ns=start_ns, end_ns=end_ns, matches=matches, older_matches=older)
        else:
            present = observation.points(self._run_query(scheduled, start_ns, end_ns, MAX_ROWS).tables[0])
            past = tuple(
                self._past_points(scheduled, start_ns, end_ns, days * DAY_NS)
                for days in range(1, compare_days(monitor) + 1)
            )
            observed = Observation(start_ns=start_ns, end_ns=end_ns, points=present, past=past)
        return evaluate(monitor, observed, state, now_ns), observed

    def _past_points(self, scheduled: ScheduledMonitor, start_ns: int, end_ns: int, ago_ns: int) -> tuple[Any, ...]:
        points = observation.points(self._run_query(scheduled, start_ns - ago_ns, end_ns - ago_ns, MAX_ROWS).tables[0])
        return observation.shifted(points, ago_ns)

    def _run_query(self, scheduled: ScheduledMonitor, start_ns: int, end_ns: int, limit: int) -> AplResult:
        monitor = scheduled.monitor
        if not monitor.apl_query:
            raise TailraceError("the monitor has an mplQuery, and this server does not run MPL; give it an aplQuery")
        return self._sources.run_query(MonitorQuery(scheduled.reader, monitor.apl_query, start_ns, end_ns, limit))

    # Delivering

    async def _send_pending(self, now_ns: int) -> None:
        self._outbox_changed = False
        capacity = MAX_CONCURRENT_DELIVERIES - sum(1 for key in self._tasks if isinstance(key, int))
        # Before the outbox is read: a delivery that ends meanwhile is in it still, and must not begin again.
        running = set(self._tasks)
        # More than there is capacity for, as some of them are being delivered.
        pending = await asyncio.to_thread(self._store.pending, now_ns, 2 * MAX_CONCURRENT_DELIVERIES)
        waiting = [notification for notification in pending if notification.number not in running]
        for notification in waiting[: max(capacity, 0)]:
            self._begin(notification.number, partial(self._send, notification))
        if any(isinstance(key, int) for key in self._tasks):
            self._next_delivery_ns = None  # the end of a delivery makes the outbox be read again
        else:
            self._next_delivery_ns = await asyncio.to_thread(self._store.next_pending_ns)

    async def _send(self, pending: PendingNotification) -> None:
        try:
            kind, text = await self._attempt(pending)
        except DeliveryFailed as error:
            if error.retryable and pending.attempts < len(RETRY_AFTER_S):
                due_ns = self._clock_ns() + RETRY_AFTER_S[pending.attempts] * SECOND_NS
                await self._store_until_done(partial(self._store.postpone, pending, due_ns))
                return
            kind, text = "failed", error.reason
        except Exception:
            logger.exception("a notification of monitor %s could not be sent", pending.monitor)
            kind, text = "failed", "internal error; the server's log has it"
        if kind == "failed":
            logger.warning("notifier %s was not notified of monitor %s: %s", pending.notifier, pending.monitor, text)
        self.notifications[kind] += 1
        entry = HistoryEntry(
            at_ns=self._clock_ns(),
            kind=kind,
            text=text,
            check_id=pending.notification.check_id,
            notifier=pending.notifier,
            attempts=pending.attempts + 1,
        )
        await self._store_until_done(partial(self._store.complete, pending, entry))

    async def _store_until_done(self, store: Callable[[], None]) -> None:
        """Store the result of a delivery, again and again until that succeeds: meanwhile it is not repeated."""
        while True:
            try:
                await asyncio.to_thread(store)
                return
            except (DiskFull, StorageUnavailable) as error:
                logger.error("the result of a notification could not be stored, which is tried again: %s", error)
                await asyncio.sleep(STORE_RETRY_NS / SECOND_NS)

    async def _attempt(self, pending: PendingNotification) -> tuple[HistoryKind, str]:
        notification = pending.notification
        notifier = await asyncio.to_thread(self._sources.notifier, pending.organisation, pending.notifier)
        if notifier is None:
            return "failed", f"there is no notifier {pending.notifier}"
        until = notifier.disabled_until
        if until is not None and _ns(until) > self._clock_ns():
            return "skipped", f"notifier {notifier.name} is disabled until {until.isoformat()}"
        try:
            await self.deliver(notifier, notification)
        except NotDelivered as reason:
            return "skipped", str(reason)
        return "delivered", f"{notification.action} to {notifier.name} ({notifier.kind})"

    async def deliver(self, notifier: Notifier, notification: Notification) -> None:
        """Make one attempt to deliver a notification; raise NotDelivered, DeliveryFailed."""
        try:
            if notifier.kind == "email":
                await self._sender.send_mail(email(notifier, notification, self._sender.mail.sender))
            else:
                await self._sender.post(http_call(notifier, notification))
        except TailraceError as error:
            raise DeliveryFailed(error.message, retryable=False) from error


def next_run_ns(due_ns: int, interval_minutes: int, now_ns: int) -> int:
    """Return when a monitor that was due then runs next: a whole number of intervals later, and after now.

    Runs that were missed are not made up for.
    """
    interval_ns = interval_minutes * MINUTE_NS
    first_ns = due_ns or now_ns
    return first_ns + ((now_ns - first_ns) // interval_ns + 1) * interval_ns


def _match_start_ns(start_ns: int, end_ns: int, state: MonitorState) -> int:
    """Return where the time range of a match monitor starts: it includes the time since the last run."""
    if not state.until_ns:
        return start_ns
    if state.timeless:
        # Events without a time cannot be told from those of the run before: no time is queried twice.
        return max(state.until_ns, end_ns - MAX_CATCH_UP_NS)
    return max(min(start_ns, state.until_ns), min(start_ns, end_ns - MAX_CATCH_UP_NS))


def _notification(scheduled: ScheduledMonitor, notice: Notice, observed: Observation, now_ns: int) -> Notification:
    return Notification(
        monitor_id=scheduled.id,
        title=scheduled.monitor.name,
        description=scheduled.monitor.description,
        action=notice.action,
        body=notice.body,
        value=notice.value,
        event=notice.event,
        start_ns=observed.start_ns,
        end_ns=observed.end_ns,
        at_ns=now_ns,
        check_id=notice.check_id,
        still_open=notice.still_open,
        labels=notice.labels,
    )


def _ns(time: datetime) -> int:
    return int(time.timestamp()) * SECOND_NS + time.microsecond * 1000
