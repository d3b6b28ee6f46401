"""The stored state of monitors: when each runs next, its alerts and history, and the notifications to be sent."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from tailrace.monitors.evaluation import MonitorState
from tailrace.monitors.notifications import Notification
from tailrace.storage.database import Database
from tailrace.storage.tables import monitor_history, monitor_outbox, monitor_runs

MAX_HISTORY = 5_000  # entries of one monitor; the oldest give way
PRUNED_BY = 100  # entries beyond MAX_HISTORY that start a removal
MAX_TEXT = 20_000  # characters of an entry

HistoryKind = Literal["open", "closed", "error", "delivered", "failed", "skipped"]


class HistoryEntry(Struct, frozen=True, kw_only=True):
    """An alert that opened or closed, a run that failed, or how a notification ended."""

    at_ns: int
    kind: HistoryKind
    text: str
    check_id: str = ""
    group: str = ""
    value: float | None = None
    notifier: str = ""  # its id
    attempts: int = 0


class MonitorStatus(Struct, frozen=True):
    """When a monitor runs and ran, and its state after the last run."""

    monitor: str
    organisation: str
    next_ns: int
    last_ns: int
    error: str
    state: MonitorState


class PendingNotification(Struct, frozen=True):
    """A notification that is to be sent."""

    number: int
    monitor: str
    organisation: str
    notifier: str
    due_ns: int
    attempts: int  # made so far
    notification: Notification


def make_due(connection: Connection, monitor: str, organisation: str) -> None:
    """Make a monitor due at once, whether it is new or was changed."""
    mine = monitor_runs.c.monitor == monitor
    if not connection.execute(update(monitor_runs).where(mine).values(next_ns=0)).rowcount:
        connection.execute(
            insert(monitor_runs).values(
                monitor=monitor, organisation=organisation, next_ns=0, last_ns=0, error="", state={}
            )
        )


def delete_records(connection: Connection, monitor: str) -> None:
    """Delete the status and history of a monitor, and its notifications that were still to be sent."""
    for table in (monitor_runs, monitor_history, monitor_outbox):
        connection.execute(delete(table).where(table.c.monitor == monitor))


class MonitorStore:
    """The status, history and outbox of monitors in a database. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Status

    def due_times(self) -> dict[str, int]:
        """Return when monitors are due, by id."""
        with self._database.reading() as connection:
            return {
                row.monitor: row.next_ns
                for row in connection.execute(select(monitor_runs.c.monitor, monitor_runs.c.next_ns))
            }

    def status(self, monitor: str) -> MonitorStatus | None:
        """Return the status of one; None where there is no such monitor."""
        with self._database.reading() as connection:
            row = connection.execute(select(monitor_runs).where(monitor_runs.c.monitor == monitor)).first()
        return None if row is None else _status(row)

    def make_due(self, monitor: str, organisation: str) -> None:
        """Make a monitor due at once, in a transaction of its own."""
        with self._database.changing() as connection:
            make_due(connection, monitor, organisation)

    def finish(
        self,
        before: MonitorStatus,
        *,
        at_ns: int,
        next_ns: int,
        state: MonitorState,
        error: str = "",
        entries: Sequence[HistoryEntry] = (),
        notifications: Sequence[tuple[str, Notification]] = (),
    ) -> bool:
        """Store the result of a run, all or nothing; each notification is for the notifier whose id stands before it.

        False, and no change, where the monitor is gone.
        """
        mine = monitor_runs.c.monitor == before.monitor
        values = {
            "last_ns": at_ns,
            "next_ns": next_ns,
            "error": error.replace("\0", "\ufffd"),  # PostgreSQL has no NUL in a text
            "state": msgspec.to_builtins(state),
        }
        with self._database.changing() as connection:
            if not connection.execute(update(monitor_runs).where(mine).values(**values)).rowcount:
                return False
            self._add_entries(connection, before.monitor, entries)
            if notifications:
                connection.execute(
                    insert(monitor_outbox),
                    [
                        {
                            "monitor": before.monitor,
                            "organisation": before.organisation,
                            "notifier": notifier,
                            "due_ns": at_ns,
                            "attempts": 0,
                            "message": msgspec.to_builtins(notification),
                        }
                        for notifier, notification in notifications
                    ],
                )
        return True

    # Outbox

    def pending(self, until_ns: int, limit: int) -> list[PendingNotification]:
        """Return the notifications that are due by then, the earliest first."""
        due = (
            select(monitor_outbox)
            .where(monitor_outbox.c.due_ns <= until_ns)
            .order_by(monitor_outbox.c.due_ns, monitor_outbox.c.number)
        )
        with self._database.reading() as connection:
            return [_pending(row) for row in connection.execute(due.limit(limit))]

    def next_pending_ns(self) -> int | None:
        """Return when the next notification is due, None where there is none."""
        with self._database.reading() as connection:
            due_ns: int | None = connection.scalar(select(func.min(monitor_outbox.c.due_ns)))
        return due_ns

    def complete(self, pending: PendingNotification, entry: HistoryEntry) -> None:
        """Remove a notification from the outbox, and store in the history how it ended."""
        with self._database.changing() as connection:
            if connection.execute(delete(monitor_outbox).where(monitor_outbox.c.number == pending.number)).rowcount:
                self._add_entries(connection, pending.monitor, [entry])

    def postpone(self, pending: PendingNotification, due_ns: int) -> None:
        """Store that an attempt failed, and when the next is."""
        values = {"due_ns": due_ns, "attempts": pending.attempts + 1}
        with self._database.changing() as connection:
            connection.execute(update(monitor_outbox).where(monitor_outbox.c.number == pending.number).values(**values))

    # History

    def history(
        self, monitor: str, *, start_ns: int | None = None, end_ns: int | None = None, kinds: Sequence[HistoryKind] = ()
    ) -> list[HistoryEntry]:
        """Return what happened with a monitor in [start, end], the oldest first."""
        entries = select(monitor_history).where(monitor_history.c.monitor == monitor).order_by(monitor_history.c.number)
        if start_ns is not None:
            entries = entries.where(monitor_history.c.at_ns >= _within_int64(start_ns))
        if end_ns is not None:
            entries = entries.where(monitor_history.c.at_ns <= _within_int64(end_ns))
        if kinds:
            entries = entries.where(monitor_history.c.kind.in_(kinds))
        with self._database.reading() as connection:
            return [_entry(row) for row in connection.execute(entries)]

    def _add_entries(self, connection: Connection, monitor: str, entries: Sequence[HistoryEntry]) -> None:
        if not entries:
            return
        connection.execute(insert(monitor_history), [_entry_row(monitor, entry) for entry in entries])
        mine = monitor_history.c.monitor == monitor
        count = connection.scalar(select(func.count()).select_from(monitor_history).where(mine)) or 0
        if count > MAX_HISTORY + PRUNED_BY:
            oldest = (
                select(monitor_history.c.number)
                .where(mine)
                .order_by(monitor_history.c.number)
                .limit(count - MAX_HISTORY)
            )
            connection.execute(delete(monitor_history).where(monitor_history.c.number.in_(oldest)))


def _status(row: Row[Any]) -> MonitorStatus:
    state = msgspec.convert(row.state, MonitorState)
    return MonitorStatus(row.monitor, row.organisation, row.next_ns, row.last_ns, row.error, state)


def _pending(row: Row[Any]) -> PendingNotification:
    notification = msgspec.convert(row.message, Notification)
    return PendingNotification(
        row.number, row.monitor, row.organisation, row.notifier, row.due_ns, row.attempts, notification
    )


def _entry_row(monitor: str, entry: HistoryEntry) -> dict[str, Any]:
    body: Mapping[str, Any] = {
        "text": entry.text[:MAX_TEXT],
        "group": entry.group[:MAX_TEXT],
        "value": entry.value,
        "notifier": entry.notifier,
        "attempts": entry.attempts,
    }
    return {
        "monitor": monitor, "at_ns": entry.at_ns, "kind": entry.kind, "check_id": entry.check_id, "body": body
    }  # fmt: skip


def _within_int64(number: int) -> int:
    """Return what a column of 64 bits can be compared with; times beyond years 1678 and 2262 are asked about too."""
    return max(-(2**63), min(number, 2**63 - 1))


def _entry(row: Row[Any]) -> HistoryEntry:
    return HistoryEntry(at_ns=row.at_ns, kind=row.kind, check_id=row.check_id, **row.body)
