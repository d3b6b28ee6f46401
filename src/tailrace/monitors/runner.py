"""Runs monitors when they are due, and sends what they have to tell: one task on the event loop, work in threads."""

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
from tailrace.monitors.delivery import DeliveryFailed, NotificationSender
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
from tailrace.monitors.notifications import NotDelivered, Notification, email, http_call
from tailrace.monitors.notifier import Notifier
from tailrace.monitors.store import HistoryEntry, HistoryKind, MonitorStatus, MonitorStore, PendingNotification
from tailrace.query import AplResult

logger = logging.getLogger(__name__)

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
DAY_NS = 24 * 60 * MINUTE_NS
RETRY_AFTER_S = (10, 60, 300)  # after the first attempt to send, the second, the third; then it has failed
MAX_CATCH_UP_NS = DAY_NS  # that a match monitor looks back over where it could not run
MAX_SENDING = 8  # messages on their way at once
MAX_ROWS = 50_000  # of an answer
FAILED_WAIT_NS = 10 * SECOND_NS  # before another look at a store that failed


class ScheduledMonitor(Struct, frozen=True):
    """A monitor with whose it is, and what it may read."""

    id: str
    organisation: str
    monitor: Monitor
    reader: Grant


class MonitorQuery(Struct, frozen=True):
    """A query over [start, end), in Unix nanoseconds, with what it may read."""

    reader: Grant
    apl: str
    start_ns: int
    end_ns: int
    limit: int  # rows, where the query has none of its own


class Sources(Protocol):
    """Where the runner finds what it runs. Each may block, and is called in a thread."""

    def monitors(self) -> list[ScheduledMonitor]:
        """All that there are."""

    def notifier(self, organisation: str, notifier_id: str) -> Notifier | None:
        """One of an organisation."""

    def ask(self, question: MonitorQuery) -> AplResult:
        """Return the answer; raise TailraceError."""


class Runner:
    """Runs monitors. Made and used on one event loop; `clock_ns` is the only clock it knows."""

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
        self._known: dict[str, ScheduledMonitor] = {}
        self._due: dict[str, int] = {}
        self._stale = True  # what is known is not what there is
        self._changed: set[str] = set()  # ids of monitors that are due at once
        self._woken = asyncio.Event()
        self._work: dict[str | int, asyncio.Task[None]] = {}  # by monitor id, or number of a message
        self._unsent = True  # messages may have come to be sent
        self._next_message_ns: int | None = None
        self._scheduling: asyncio.Task[None] | None = None
        self.runs: Counter[str] = Counter()  # since the start, by what came of them: ok, error
        self.messages: Counter[str] = Counter()  # the same: delivered, failed, skipped

    def start(self) -> None:
        """Begin to run what is due, from now on."""
        self._scheduling = asyncio.create_task(self._schedule())

    async def stop(self) -> None:
        """Begin nothing any more; what is due or not sent by then is after the next start."""
        tasks = [each for each in (self._scheduling, *self._work.values()) if each is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self._sender.close()

    def changed(self, monitor_id: str) -> None:
        """Take note that a monitor was made, changed or deleted, after the stores know it."""
        self._stale = True
        self._changed.add(monitor_id)
        self._woken.set()

    async def tick(self) -> int | None:
        """Begin all that is due and not under way; when to look again, None for when something changes."""
        if self._stale:
            await self._reload()
        now_ns = self._clock_ns()
        for monitor_id, defined in self._known.items():
            if monitor_id not in self._work and self._begins_ns(defined) <= now_ns:
                self._begin(monitor_id, partial(self._run, defined, now_ns))
        if self._unsent or (self._next_message_ns is not None and self._next_message_ns <= now_ns):
            await self._send_due(now_ns)
        # What is under way wakes the schedule when it ends.
        waiting = [self._begins_ns(each) for each in self._known.values() if each.id not in self._work]
        waiting = [each for each in waiting if each < NEVER_NS]
        if self._next_message_ns is not None:
            waiting.append(self._next_message_ns)
        return min(waiting, default=None)

    async def settle(self) -> None:
        """Return once nothing is under way and nothing is due."""
        while True:
            next_ns = await self.tick()
            if self._work:
                await asyncio.wait(list(self._work.values()))
            elif not self._stale and not self._unsent and (next_ns is None or next_ns > self._clock_ns()):
                return

    async def _schedule(self) -> None:
        while True:
            self._woken.clear()
            try:
                next_ns = await self.tick()
            except Exception:
                # The store did not answer, perhaps: nothing is lost, and the next look is not at once.
                logger.exception("monitors could not be looked at")
                self._stale = self._unsent = True
                next_ns = self._clock_ns() + FAILED_WAIT_NS
            if next_ns is None:
                await self._woken.wait()
                continue
            wait_s = max(next_ns - self._clock_ns(), 0) / SECOND_NS
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), wait_s)

    async def _reload(self) -> None:
        self._stale = False
        changed, self._changed = self._changed, set()
        try:
            defined, due = await asyncio.to_thread(self._read)
        except BaseException:
            self._changed |= changed
            raise
        # What is under way will be due when it was said to be, which the store does not know yet.
        kept = {each: self._due[each] for each in self._work if isinstance(each, str) and each not in changed}
        self._known = {each.id: each for each in defined}
        # A run that began before a change may have written over it.
        self._due = due | kept | dict.fromkeys(changed, 0)

    def _read(self) -> tuple[list[ScheduledMonitor], dict[str, int]]:
        defined, due = self._sources.monitors(), self._store.due_times()
        for each in defined:
            if each.id not in due:  # the server ended before it could be noted
                self._store.expect(each.id, each.organisation)
                due[each.id] = 0
        return defined, due

    def _begins_ns(self, defined: ScheduledMonitor) -> int:
        monitor = defined.monitor
        if monitor.disabled:
            return NEVER_NS
        return max(self._due[defined.id], _ns(monitor.disabled_until) if monitor.disabled_until else 0)

    def _begin(self, key: str | int, work: Callable[[], Awaitable[None]]) -> None:
        async def finish() -> None:
            try:
                await work()
            except Exception:
                logger.exception("work of a monitor failed")
            finally:
                del self._work[key]
                self._unsent = self._unsent or isinstance(key, int)
                self._woken.set()

        self._work[key] = asyncio.create_task(finish())

    # Running

    async def _run(self, defined: ScheduledMonitor, now_ns: int) -> None:
        due_ns = self._due[defined.id]
        next_ns = next_run_ns(due_ns, defined.monitor.interval_minutes, now_ns)
        # Before the run, so that whatever becomes of it, it is not due again at once.
        self._due[defined.id] = next_ns
        loop = asyncio.get_running_loop()
        result = await loop.run_in_executor(self._threads, self._run_once, defined, now_ns, next_ns)
        if result:
            self.runs[result] += 1
        self._unsent = True

    def _run_once(self, defined: ScheduledMonitor, now_ns: int, next_ns: int) -> str:
        """Ask, evaluate, and keep what it comes to: ok, error, or "" where the monitor is gone."""
        before = self._store.run(defined.id)
        if before is None:
            return ""
        try:
            outcome, observed = self._outcome(defined, before.state, now_ns)
        except (TailraceError, TooManyGroups) as error:
            return self._failed(before, str(error), now_ns, next_ns)
        except Exception:
            logger.exception("monitor %s failed", defined.id)
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
        messages = [
            (notifier, _message(defined, notice, observed, now_ns))
            for notice in outcome.notices
            for notifier in defined.monitor.notifier_ids
        ]
        kept = self._store.finish(
            before, at_ns=now_ns, next_ns=next_ns, state=outcome.state, entries=entries, messages=messages
        )
        return "ok" if kept else ""

    def _failed(self, before: MonitorStatus, error: str, now_ns: int, next_ns: int) -> str:
        # An error that lasts is one entry, not one a minute.
        entries = [HistoryEntry(at_ns=now_ns, kind="error", text=error)] if error != before.error else []
        self._store.finish(before, at_ns=now_ns, next_ns=next_ns, state=before.state, error=error, entries=entries)
        return "error"

    def _outcome(self, defined: ScheduledMonitor, state: MonitorState, now_ns: int) -> tuple[RunOutcome, Observation]:
        monitor = defined.monitor
        end_ns = now_ns - monitor.second_delay * SECOND_NS
        start_ns = end_ns - monitor.range_minutes * MINUTE_NS
        if monitor.type == "MatchEvent":
            start_ns = _match_start_ns(start_ns, end_ns, state)
            result = self._ask(defined, start_ns, end_ns, MAX_MATCHES)
            matches = observation.matches(result.tables[0])
            more = max(result.status.rows_matched - len(matches), 0) if len(matches) >= MAX_MATCHES else 0
            observed = Observation(start_ns=start_ns, end_ns=end_ns, matches=matches, more=more)
        else:
            present = observation.points(self._ask(defined, start_ns, end_ns, MAX_ROWS).tables[0])
            past = tuple(
                self._past(defined, start_ns, end_ns, days * DAY_NS) for days in range(1, compare_days(monitor) + 1)
            )
            observed = Observation(start_ns=start_ns, end_ns=end_ns, points=present, past=past)
        return evaluate(monitor, observed, state, now_ns), observed

    def _past(self, defined: ScheduledMonitor, start_ns: int, end_ns: int, ago_ns: int) -> tuple[Any, ...]:
        found = observation.points(self._ask(defined, start_ns - ago_ns, end_ns - ago_ns, MAX_ROWS).tables[0])
        return observation.moved(found, ago_ns)

    def _ask(self, defined: ScheduledMonitor, start_ns: int, end_ns: int, limit: int) -> AplResult:
        monitor = defined.monitor
        if not monitor.apl_query:
            raise TailraceError("the monitor has an mplQuery, and this server does not run MPL; give it an aplQuery")
        return self._sources.ask(MonitorQuery(defined.reader, monitor.apl_query, start_ns, end_ns, limit))

    # Sending

    async def _send_due(self, now_ns: int) -> None:
        self._unsent = False
        room = MAX_SENDING - sum(1 for key in self._work if isinstance(key, int))
        # Those on their way now may have arrived by the time that what is pending is read; their end looks again.
        under_way = set(self._work)
        # More than there is room for, for some of them are on their way.
        pending = await asyncio.to_thread(self._store.pending, now_ns, 2 * MAX_SENDING)
        waiting = [each for each in pending if each.number not in under_way]
        for each in waiting[: max(room, 0)]:
            self._begin(each.number, partial(self._send, each))
        if any(isinstance(key, int) for key in self._work):
            self._next_message_ns = None  # each that ends looks again
        else:
            self._next_message_ns = await asyncio.to_thread(self._store.next_pending_ns)

    async def _send(self, pending: PendingNotification) -> None:
        try:
            kind, text = await self._attempt(pending)
        except DeliveryFailed as error:
            if error.retryable and pending.attempts < len(RETRY_AFTER_S):
                due_ns = self._clock_ns() + RETRY_AFTER_S[pending.attempts] * SECOND_NS
                await self._stored(partial(self._store.postpone, pending, due_ns))
                return
            kind, text = "failed", error.reason
        except Exception:
            logger.exception("a message of monitor %s could not be sent", pending.monitor)
            kind, text = "failed", "internal error; the server's log has it"
        if kind == "failed":
            logger.warning("notifier %s was not told of monitor %s: %s", pending.notifier, pending.monitor, text)
        self.messages[kind] += 1
        entry = HistoryEntry(
            at_ns=self._clock_ns(),
            kind=kind,
            text=text,
            check_id=pending.message.check_id,
            notifier=pending.notifier,
            attempts=pending.attempts + 1,
        )
        await self._stored(partial(self._store.sent, pending, entry))

    async def _stored(self, store: Callable[[], None]) -> None:
        """Store what became of a message, as often as it takes: until that is stored the message is not sent again."""
        while True:
            try:
                await asyncio.to_thread(store)
                return
            except (DiskFull, StorageUnavailable) as error:
                logger.error("what became of a message could not be stored, which is tried again: %s", error)
                await asyncio.sleep(FAILED_WAIT_NS / SECOND_NS)

    async def _attempt(self, pending: PendingNotification) -> tuple[HistoryKind, str]:
        message = pending.message
        notifier = await asyncio.to_thread(self._sources.notifier, pending.organisation, pending.notifier)
        if notifier is None:
            return "failed", f"there is no notifier {pending.notifier}"
        until = notifier.disabled_until
        if until is not None and _ns(until) > self._clock_ns():
            return "skipped", f"notifier {notifier.name} is disabled until {until.isoformat()}"
        try:
            if notifier.kind == "email":
                await self._sender.send_mail(email(notifier, message, self._sender.mail.sender))
            else:
                await self._sender.post(http_call(notifier, message))
        except NotDelivered as reason:
            return "skipped", str(reason)
        except TailraceError as error:
            raise DeliveryFailed(error.message, retryable=False) from error
        return "delivered", f"{message.action} to {notifier.name} ({notifier.kind})"


NEVER_NS = 2**63 - 1


def next_run_ns(due_ns: int, interval_minutes: int, now_ns: int) -> int:
    """When a monitor that was due then runs next: a whole number of intervals later, and after now.

    What was missed while nothing could run is not made up for.
    """
    interval_ns = interval_minutes * MINUTE_NS
    first_ns = due_ns or now_ns
    return first_ns + ((now_ns - first_ns) // interval_ns + 1) * interval_ns


def _match_start_ns(start_ns: int, end_ns: int, state: MonitorState) -> int:
    """From when a match monitor asks: over what it could not ask about before, as well."""
    if not state.until_ns:
        return start_ns
    if state.timeless:
        # Events without a time cannot be told from those of the run before: no moment is asked about twice.
        return max(state.until_ns, end_ns - MAX_CATCH_UP_NS)
    return max(min(start_ns, state.until_ns), min(start_ns, end_ns - MAX_CATCH_UP_NS))


def _message(defined: ScheduledMonitor, notice: Notice, observed: Observation, now_ns: int) -> Notification:
    return Notification(
        monitor_id=defined.id,
        title=defined.monitor.name,
        description=defined.monitor.description,
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
