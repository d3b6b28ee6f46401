"""Opening the log where the settings say it is, and what the data directory remembers of where it was."""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from tailrace.events import TailraceError
from tailrace.log import FileCalls, LocalLog, Log, ObjectLog, Subscription, require_conditional_put
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
        calls=FileCalls(fdatasync=_timed(os.fdatasync, flushes)),
    )


def _open_object_log(settings: Settings, subscription: Subscription, flushes: Latency) -> Log:
    try:
        store = open_s3(settings.server.log)
        require_conditional_put(store, settings.log.put_timeout_s)
        return ObjectLog.open(store, settings.log, subscription=subscription, observe_put=flushes.observe)
    except (ValueError, TailraceError) as error:
        refuse(f"the log cannot be opened: {error} (setting log)")


def _timed(call: Callable[[int], None], latency: Latency) -> Callable[[int], None]:
    """Return a call on a file descriptor whose duration is observed."""

    def timed(descriptor: int) -> None:
        began_s = time.perf_counter()
        try:
            call(descriptor)
        finally:
            latency.observe(time.perf_counter() - began_s)

    return timed
