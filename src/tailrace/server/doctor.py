"""`doctor`: checks a data directory, whether a server runs on it or not, and says what is wrong. It changes nothing."""

import fcntl
import json
import os
import shutil
import socket
import sqlite3
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from msgspec import Struct
from sqlalchemy.exc import SQLAlchemyError

from tailrace import __version__
from tailrace.config import ConfigError, format_size
from tailrace.events import TailraceError
from tailrace.lake import hashes
from tailrace.lake.catalog import NAME
from tailrace.lake.inspection import dataset_directories, first_line, inspect
from tailrace.lake.local_table import LocalTable
from tailrace.lake.table_storage import TableStorage
from tailrace.log import Damage, FileCalls, require_conditional_put
from tailrace.log import segments as log_segments
from tailrace.native import why_missing
from tailrace.protocols.registry import STREAM_DOORS
from tailrace.server.engines import reference_data_of
from tailrace.server.layout import (
    LOCK_FILE,
    LOG_DIRECTORY,
    OWNER_TOKEN_FILE,
    RESTORING_FILE,
    SERVER_FILE,
    SESSIONS_FILE,
    WORKER_LOGS_DIRECTORY,
)
from tailrace.server.settings import Settings
from tailrace.server.streams.sockets import configured_ports
from tailrace.server.table_store import is_object_store, tables_directory
from tailrace.storage.database import FILE_NAME as DATABASE_FILE
from tailrace.storage.database import open_engine
from tailrace.storage.legacy import ACCESS_FILE as LEGACY_ACCESS_FILE
from tailrace.storage.legacy import SAVED_FILE as LEGACY_SAVED_FILE
from tailrace.storage.object_store import open_s3

ENGINES = ("duckdb", "deltalake", "pyarrow", "granian")
SECRET_FILES = (
    OWNER_TOKEN_FILE,
    SESSIONS_FILE,
    SERVER_FILE,
    DATABASE_FILE,
    LEGACY_ACCESS_FILE,
    LEGACY_SAVED_FILE,
)
LOW_SPACE = 4  # times `log_min_free_bytes`, below which the disk is soon full
CLOCK_TOLERANCE_S = 60.0
OBJECT_STORE_TIMEOUT_S = 5.0
MAX_FAULTS = 5  # of a kind that are listed
EARLIEST_S = 1_767_225_600.0  # 2026: a clock before that is wrong

Level = Literal["ok", "warning", "wrong"]


class Finding(Struct, frozen=True):
    """The result of one check, and what to do where something is wrong."""

    level: Level
    subject: str
    found: str
    advice: str = ""


def examine(settings: Settings, *, verify: bool = False) -> Iterator[Finding]:
    """Run all checks, one after the other; with `verify` read every data file against its hash."""
    data = settings.server.data.absolute()
    yield _versions()
    yield _native()
    yield from _reference_data(settings)
    yield _clock(data)
    if not data.is_dir():
        yield Finding(
            "wrong", "data directory", f"{data} is not there", "give the right one by --data, or start `tailrace serve`"
        )
        yield from _addresses(settings)
        return
    running = is_running(data)
    if (data / RESTORING_FILE).exists():
        advice = "run `tailrace restore` again, which goes on with it"
        yield Finding("wrong", "data directory", "a restore to it was stopped in the middle", advice)
    yield from _directory(data)
    yield from _disk(data, settings)
    yield from _server(data, running, settings)
    logs = {} if settings.server.log else {"log": data / LOG_DIRECTORY}
    logs |= {f"log of {path.name}": path for path in sorted((data / WORKER_LOGS_DIRECTORY).glob("*/"))}
    if settings.server.log:
        yield _object_log(settings.server.log)
    for subject, directory in logs.items():
        yield from _catch_read_errors(subject, partial(_log, subject, directory, running))
    if is_object_store(settings):
        yield from _catch_read_errors("lake", lambda: _object_store(settings.server.storage, verify=verify))
    else:
        yield from _catch_read_errors("lake", lambda: _lake(tables_directory(settings, data), verify=verify))
    yield from _catch_read_errors("database", lambda: _database(data, settings))


def is_running(data: Path) -> bool:
    """Return whether a server works on a data directory."""
    try:
        descriptor = os.open(data / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _catch_read_errors(subject: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Yield the findings of a check; an error that stops it is one too."""
    try:
        yield from check()
    except OSError as error:
        yield Finding(
            "wrong", subject, f"cannot be read: {error}", "run it as the server's user; check the disk and its mount"
        )


def _versions() -> Finding:
    engines = ", ".join(f"{name} {version(name)}" for name in ENGINES)
    python = ".".join(map(str, sys.version_info[:3]))
    return Finding("ok", "version", f"tailrace {__version__}, Python {python}, {engines}")


def _native() -> Finding:
    reason = why_missing()
    if reason is None:
        return Finding("ok", "native library", "is used")
    advice = "`make run` builds it; so does installing from a wheel for this platform, or with a C compiler"
    return Finding("warning", "native library", f"is not used, so taking events in is slow: {reason}", advice)


def _reference_data(settings: Settings) -> Iterator[Finding]:
    try:
        reference_data_of(settings)
    except ConfigError as error:
        for line in str(error).splitlines():
            yield Finding("wrong", "settings", line, "correct the file, or leave the setting empty")


def _clock(data: Path) -> Finding:
    now_s = time.time()
    shown = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_s))
    advice = "set the clock, or let NTP do it: events without a time, and the ends of tokens, go by it"
    if now_s < EARLIEST_S:
        return Finding("wrong", "clock", f"it is {shown} by this machine's clock", advice)
    newest_s = max((_modified_s(path) for path in (data / "log", *(data / "log").glob("*"))), default=0.0)
    if newest_s > now_s + CLOCK_TOLERANCE_S:
        late_s = newest_s - now_s
        return Finding("wrong", "clock", f"it is {shown}, {late_s:.0f} s before the log was last written", advice)
    return Finding("ok", "clock", shown)


def _modified_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # removed meanwhile, or not created yet
        return 0.0


def _directory(data: Path) -> Iterator[Finding]:
    used = (data, *(data / name for name in ("log", "lake", *SECRET_FILES)))
    unwritable = [path for path in used if path.exists() and not os.access(path, os.R_OK | os.W_OK)]
    if unwritable:
        names = ", ".join(map(str, unwritable))
        yield Finding(
            "wrong",
            "data directory",
            f"{names} cannot be read and written",
            "run it as the server's user; check the mount",
        )
    open_to_all = [
        name
        for name in SECRET_FILES
        if (data / name).exists() and (data / name).stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    ]
    if data.stat().st_mode & stat.S_IXOTH:
        # A group may be allowed to read the tables on purpose; everybody hardly is.
        shown = [n for n in ("lake", "log") if (data / n).is_dir() and (data / n).stat().st_mode & stat.S_IROTH]
        if shown:
            names = " ".join(str(data / name) for name in shown)
            yield Finding("wrong", "secrets", f"every user may read {' and '.join(shown)}", f"chmod o-rwx {names}")
    if open_to_all:
        names = " ".join(str(data / name) for name in open_to_all)
        yield Finding("wrong", "secrets", f"other users may read {', '.join(open_to_all)}", f"chmod 600 {names}")
    if not unwritable and not open_to_all:
        yield Finding("ok", "data directory", str(data))


def _disk(data: Path, settings: Settings) -> Iterator[Finding]:
    least = settings.log.min_free_bytes
    free = shutil.disk_usage(data).free
    space = f"{free / 1e9:.1f} GB free"
    advice = f"free some space, or trim a dataset; below {format_size(least)} (log_min_free_bytes) ingest is refused"
    if free < least:
        yield Finding("wrong", "disk", space, advice)
    elif free < LOW_SPACE * least:
        yield Finding("warning", "disk", space, advice)
    else:
        yield Finding("ok", "disk", space)
    nodes = os.statvfs(data)
    if nodes.f_files and not nodes.f_favail:
        yield Finding("wrong", "disk", "no inode is free: no file can be made", "remove files from this disk")


def _server(data: Path, running: bool, settings: Settings) -> Iterator[Finding]:
    if running:
        try:
            address = json.loads((data / SERVER_FILE).read_bytes())
            yield Finding("ok", "server", f"runs at {address['url']} (process {address['pid']})")
            if address.get("doors"):
                yield Finding("ok", "doors", f"open: {', '.join(address['doors'])}")
        except (OSError, ValueError, KeyError, TypeError):
            yield Finding(
                "warning", "server", "one is starting or stopping on this directory", "look again in a moment"
            )
        return
    if (data / SERVER_FILE).exists():
        yield Finding(
            "warning",
            "server",
            "not running; it was killed, or the machine went down",
            "`tailrace serve` starts it again",
        )
    else:
        yield Finding("ok", "server", "not running")
    yield from _addresses(settings)


def _addresses(settings: Settings) -> Iterator[Finding]:
    own = settings.server
    yield _address(own.host, own.port, socket.SOCK_STREAM, "choose another by --host and --port")
    host = settings.streams.host or own.host
    for door, transport, port in configured_ports(STREAM_DOORS, settings):
        kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
        yield _address(host, port, kind, f"choose another {door.name}_{transport}_port")


def _address(host: str, port: int, kind: socket.SocketKind, advice: str) -> Finding:
    where = f"{host} port {port}"
    try:
        infos = socket.getaddrinfo(host, port, type=kind)
        family, kind, protocol, _, address = infos[0]
        with socket.socket(family, kind, protocol) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        advice = f"stop what listens there, or {advice}"
        return Finding("wrong", "address", f"cannot listen on {where}: {error.strerror}", advice)
    return Finding("ok", "address", f"{where} is free")


def _object_log(url: str) -> Finding:
    try:
        require_conditional_put(open_s3(url), OBJECT_STORE_TIMEOUT_S)
    except (ValueError, TailraceError) as error:
        advice = "check the setting log, the variables AWS_… and the bucket; another kind of store may be needed"
        return Finding("wrong", "log", str(error), advice)
    return Finding("ok", "log", f"{url} takes objects, and refuses to put one over another")


def _log(subject: str, directory: Path, running: bool) -> Iterator[Finding]:
    if not directory.is_dir():
        yield Finding("warning", subject, "there is none yet", "the first `tailrace serve` makes it")
        return
    segments = log_segments.list_segments(directory)
    damage: list[Damage] = []
    torn = ""
    due = 0
    for index, segment in enumerate(segments):
        is_last = index + 1 == len(segments)
        try:
            recovery = log_segments.recover(segment, FileCalls())
        except FileNotFoundError:  # its events are in their tables by now
            due = 0
            continue
        except TailraceError as error:
            yield Finding("wrong", subject, error.message, "start the version of Tailrace that wrote it")
            return
        if due and segment.first_position > due:
            damage.append(log_segments.gap(due, segment))
        damage += recovery.damage
        if recovery.torn_reason and is_last:
            torn = "" if running else recovery.torn_reason
        elif recovery.torn_reason:
            end = recovery.end_bytes
            damage.append(Damage(segment.path.name, end, recovery.file_bytes - end, recovery.torn_reason))
        due = recovery.last_position + 1 if recovery.last_position and not recovery.torn_reason else 0
    size = sum(segment.end_bytes for segment in segments)
    if damage:
        text = "; ".join(
            f"{damaged.segment} at byte {damaged.offset_bytes}: {damaged.reason}" for damaged in damage[:MAX_FAULTS]
        )
        more = f"; and {len(damage) - MAX_FAULTS} more" if len(damage) > MAX_FAULTS else ""
        yield Finding(
            "wrong",
            subject,
            text + more,
            "the server skips it and goes on; put the file back from a backup if there is one, and check the disk",
        )
    elif torn:
        yield Finding(
            "warning",
            subject,
            f"its last frame is not whole ({torn})",
            "nothing to do: what was not acknowledged is cut off at the next start",
        )
    else:
        yield Finding("ok", subject, f"segments: {len(segments)}, {size / 1e6:.1f} MB, sound")


def _object_store(url: str, *, verify: bool) -> Iterator[Finding]:
    """Ask the store for its datasets; to read their files costs money and time, so it is done where it is asked for."""
    from tailrace.storage.object_files import open_s3  # takes 30 ms, where there is no store for nothing

    try:
        store = open_s3(url)
        names = [name for name in store.directories() if NAME.fullmatch(name)]
    except (OSError, ValueError) as error:
        yield Finding("wrong", "lake", f"{url}: {error}", "see setting storage, and the AWS_* variables")
        return
    if not verify:
        told = f"datasets: {len(names)}, in {url}; their files are not read (--verify does), the store verifies them"
        yield Finding("ok", "lake", told)
        return
    from tailrace.lake.object_table import ObjectTable
    from tailrace.storage.file_cache import FileCache

    with tempfile.TemporaryDirectory(prefix="tailrace-doctor-") as directory:
        cache = FileCache(Path(directory), store, 0, hashes.damage)  # which nothing is read through
        yield from _tables([(name, ObjectTable(store, name, cache)) for name in names], verify=True)
        cache.close()


def _lake(root: Path, *, verify: bool) -> Iterator[Finding]:
    if not root.is_dir():
        yield Finding("warning", "lake", "there is none yet", "the first `tailrace serve` makes it")
        return
    tables = [(directory.name, LocalTable(directory)) for directory in dataset_directories(root)]
    yield from _tables(tables, verify=verify)


def _tables(tables: Sequence[tuple[str, TableStorage]], *, verify: bool) -> Iterator[Finding]:
    files = rows = 0
    wrong: dict[str, str] = {}
    for name, storage in tables:
        table = inspect(storage, verify=verify)
        if table.fault:
            table = inspect(storage, verify=verify)  # files may have been merged into others meanwhile
        is_dropped = isinstance(storage, LocalTable) and not storage.directory.is_dir()
        if table.fault and not is_dropped:
            wrong[name] = table.fault
        files += table.files
        rows += table.rows
        if table.set_aside:
            yield Finding(
                "warning",
                f"dataset {name}",
                f"a version of its table was not whole at a start and is in {table.set_aside}; its events came from "
                "the log",
                "see that they are there, then remove that directory; until then what a crash leaves stays too",
            )
    for name, fault in list(wrong.items())[:MAX_FAULTS]:
        advice = "put it back from a backup, or drop the dataset; its new events stay in the log meanwhile"
        yield Finding("wrong", f"dataset {name}", fault, advice)
    if len(wrong) > MAX_FAULTS:
        yield Finding("wrong", "lake", f"{len(wrong) - MAX_FAULTS} more datasets cannot be used", "see the others")
    if not wrong:
        how = "every file is what was written" if verify else "all readable (--verify reads every file)"
        yield Finding("ok", "lake", f"datasets: {len(tables)}, files: {files}, events in tables: {rows}, {how}")


def _database(data: Path, settings: Settings) -> Iterator[Finding]:
    subject = "database"
    if settings.server.database_url:
        try:
            engine = open_engine(settings.server.database_url)
            engine.connect().close()
            engine.dispose()
        except (SQLAlchemyError, ImportError, TailraceError) as error:
            reason = first_line(error.__cause__ if isinstance(error.__cause__, Exception) else error)
            yield Finding("wrong", subject, f"it cannot be reached: {reason}", "check the setting database_url")
        else:
            yield Finding("ok", subject, "that of database_url answers")
    legacy = [path for path in (data / LEGACY_ACCESS_FILE, data / LEGACY_SAVED_FILE) if path.exists()]
    if not settings.server.database_url and not legacy and not (data / DATABASE_FILE).exists():
        yield Finding("warning", subject, f"{DATABASE_FILE} is not there yet", "the first `tailrace serve` makes it")
    for path in [*legacy, *([] if settings.server.database_url else [data / DATABASE_FILE])]:
        if not path.exists():
            continue
        fault = _sqlite_fault(path)
        if fault:
            yield Finding("wrong", subject, f"{path.name}: {fault}", "put it back from a backup")
        elif path in legacy:
            yield Finding("ok", subject, f"{path.name} of version 0.1 is sound; the next `tailrace serve` imports it")
        else:
            yield Finding("ok", subject, f"{path.name} is sound")


def _sqlite_fault(path: Path) -> str:
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        try:
            [text] = connection.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        return str(error)
    return "" if text == "ok" else str(text)
