"""Opening the log where the settings say it is, and what the data directory remembers of where it was."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from tailrace.events import TailraceError
from tailrace.lake import Lake
from tailrace.log import (
    DurableMark,
    FileCalls,
    LocalLog,
    Log,
    LogSettings,
    ObjectLog,
    Subscription,
    deliver_nothing,
    require_conditional_put,
)
from tailrace.server.data_directory import refuse
from tailrace.server.layout import LOG_DIRECTORY, LOG_DRAINED_FILE, LOG_LOCATION_FILE
from tailrace.server.metrics import Latency
from tailrace.server.settings import Settings
from tailrace.storage.files import flush, read_bytes, replace_durably
from tailrace.storage.object_store import open_s3

logger = logging.getLogger(__name__)


def open_log(settings: Settings, data: Path, subscription: Subscription, flushes: Latency) -> Log:
    """Open the log; raise SystemExit where it cannot be used, or where another one may still have events.

    How long it takes to make a group durable is observed in `flushes`.
    """
    url = settings.server.log
    _check_moved(data, url)
    log = (
        _open_object_log(settings, subscription, flushes)
        if url
        else _open_local_log(settings, data, subscription, flushes)
    )
    _remember(data, url)
    return log


def worker_names(settings: Settings) -> list[str]:
    """Return the writers of the workers; of one none, as the server's own process has the first writer's log.

    Raise SystemExit where the log is in an object store.
    """
    workers = settings.server.workers
    if workers > 1 and settings.server.log:
        refuse("setting workers: with the log in an object store (setting log) one process takes events in")
    return [f"worker-{number}" for number in range(workers)] if workers > 1 else []


def open_worker_logs(settings: LogSettings, directory: Path, workers: Sequence[str], lake: Lake) -> dict[str, LocalLog]:
    """Open the logs of workers: of those that there will be, and of others that there were, to be replayed."""
    found = sorted(path.name for path in directory.iterdir() if path.is_dir()) if directory.is_dir() else []
    logs = {}
    for writer in dict.fromkeys([*workers, *found]):
        if writer in workers:
            # The worker that has it then is told what is released.
            subscription = Subscription(deliver_nothing, floor=lake.highest_position(writer))
        else:
            subscription = lake.subscribe(writer)
        logs[writer] = LocalLog.open(directory / writer, settings, subscription=subscription)
    return logs


def open_worker_log(
    settings: LogSettings, directory: Path, *, floor: int, mark: DurableMark, flushes: Latency
) -> LocalLog:
    """Open the log of a worker in its process; what is durable is told by the mark, and read by the main process."""
    return LocalLog.open(
        directory,
        settings,
        subscription=Subscription(deliver_nothing, floor=floor),
        calls=FileCalls(fdatasync=flushes.timed(os.fdatasync)),
        mark=mark,
    )


def remember_stop(data: Path, log: Log, committed_position: int) -> None:
    """Remember whether every event of a closed log is in its table, so that the next start may have another one."""
    try:
        if next(log.read(committed_position + 1), None) is None:
            replace_durably(data / LOG_DRAINED_FILE, b"")
    except (OSError, TailraceError) as error:
        logger.warning("it is not known whether every event of the log is in its table: %s", error)


def _check_moved(data: Path, url: str) -> None:
    """Refuse to start where the log was elsewhere and may have events."""
    last = _location(data)
    was_used = last or (data / LOG_DIRECTORY).exists()
    if last != url and was_used and not (data / LOG_DRAINED_FILE).exists():
        refuse(
            f"the log was at {last or data / LOG_DIRECTORY} until now, and may have events that are in no table yet: "
            "start the server with that once more and stop it, which commits them, before the setting log is changed"
        )


def _remember(data: Path, url: str) -> None:
    """Remember where the log is, and that it may have events; a log that stays where it was needs no free space."""
    if _location(data) != url:
        replace_durably(data / LOG_LOCATION_FILE, url.encode())
    if (data / LOG_DRAINED_FILE).exists():
        (data / LOG_DRAINED_FILE).unlink()
        flush(data)


def _location(data: Path) -> str:
    """Return the URL of the object store that the log was in at the last start, empty where it was a directory."""
    return (read_bytes(data / LOG_LOCATION_FILE) or b"").decode()


def _open_local_log(settings: Settings, data: Path, subscription: Subscription, flushes: Latency) -> Log:
    return LocalLog.open(
        data / LOG_DIRECTORY,
        settings.log,
        subscription=subscription,
        calls=FileCalls(fdatasync=flushes.timed(os.fdatasync)),
    )


def _open_object_log(settings: Settings, subscription: Subscription, flushes: Latency) -> Log:
    try:
        store = open_s3(settings.server.log)
        require_conditional_put(store, settings.log.put_timeout_s)
        return ObjectLog.open(store, settings.log, subscription=subscription, observe_put=flushes.observe)
    except (ValueError, TailraceError) as error:
        refuse(f"the log cannot be opened: {error} (setting log)")
