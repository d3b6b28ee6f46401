"""Restoring a backup into a data directory, on which no server runs, in steps that can be stopped and gone on with."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Struct
from msgspec.structs import replace

from tailrace.access.bootstrap import add_owners_token
from tailrace.api.times import moment
from tailrace.backup.manifest import Manifest
from tailrace.backup.place import OBJECT_SCHEME, BackupPlace
from tailrace.backup.restoring import (
    DirectoryTarget,
    StoreTarget,
    TablesTarget,
    chosen,
    copy_back,
)
from tailrace.backup.saving import Progress
from tailrace.events import BadRequest
from tailrace.lake import Catalog, DataFile, FieldsView, Lake, RowNumbers
from tailrace.lake.table_storage import TableStorage
from tailrace.server.data_directory import locked
from tailrace.server.layout import (
    KEYS_FILE,
    LOCK_FILE,
    OWNER_TOKEN_FILE,
    RESTORING_FILE,
)
from tailrace.server.settings import SCHEMA
from tailrace.server.table_store import open_catalog, tables_directory
from tailrace.storage.database import FILE_NAME as DATABASE_FILE
from tailrace.storage.database import Database
from tailrace.storage.files import flush, read_bytes, replace_durably
from tailrace.storage.tables import timestamp

SYSTEM_TIME = "_sysTime"
TOKEN_NAME = "restored"
OF_FILE_SYSTEM = "lost+found"  # is in an empty disk too


class RestoreRefused(Exception):
    """Nothing is restored; the message says why."""


class RestorePlan(Struct, frozen=True):
    """What is restored; it is kept in the data directory until that is done."""

    backup: str
    storage: str = ""  # as the setting; empty for the data directory
    datasets: tuple[str, ...] = ()  # none for all
    until_ns: int | None = None  # ns since the Unix epoch: events that the server took before


class Restored(Struct, frozen=True):
    """What was restored."""

    datasets: int
    rows: int
    left_out: int  # events after `until_ns`
    has_token: bool  # whether a token for the owner was made
    faults: tuple[str, ...]  # of what is not as the server had it


def unfinished_plan(data: Path) -> RestorePlan | None:
    """Return what a restore that was stopped had begun, None where there is none. Raise RestoreRefused."""
    raw = read_bytes(data / RESTORING_FILE)
    try:
        return None if raw is None else msgspec.json.decode(raw, type=RestorePlan)
    except msgspec.MsgspecError as error:
        raise RestoreRefused(f"{data / RESTORING_FILE} is damaged ({error}): empty {data} and begin again") from error


def restore(
    place: BackupPlace,
    manifest: Manifest,
    data: Path,
    plan: RestorePlan,
    progress: Progress,
    *,
    is_partial: bool = False,
) -> Restored:
    """Restore a backup into an empty directory, or go on with that.

    Where files of the backup are damaged nothing is done beyond copying the others, unless it may be in part
    (`is_partial`). Raise RestoreRefused; SystemExit where a server runs on the directory or it cannot be written;
    OSError.
    """
    try:
        wanted = chosen(manifest, plan.datasets)
    except ValueError as error:
        raise RestoreRefused(str(error)) from error
    _check_empty(data, plan)
    with locked(data):
        is_new = _check_empty(data, plan)
        settings = replace(SCHEMA.defaults, server=replace(SCHEMA.defaults.server, storage=plan.storage, data=data))
        tables = _target(plan, tables_directory(settings, data) if not _is_store(plan) else None)
        if is_new and tables.sizes():
            raise RestoreRefused(f"there are files in {plan.storage or data} already: restore to an empty place")
        replace_durably(data / RESTORING_FILE, msgspec.json.encode(plan))
        # A key of a batch that is not restored would have that refused as a repetition.
        leave = [KEYS_FILE] if plan.until_ns is not None else []
        for suffix in ("-wal", "-shm"):  # of an attempt that was killed: the database is copied again
            (data / f"{DATABASE_FILE}{suffix}").unlink(missing_ok=True)
        faults = copy_back(place, wanted, data, tables, progress, leave)
        if faults and not is_partial:
            raise RestoreRefused(
                "; ".join(faults) + ": restore an earlier backup (--backup), or what is sound of it (--partial)"
            )
        for target in (tables, DirectoryTarget(data)):
            if isinstance(target, DirectoryTarget):
                target.settle()
        catalog = open_catalog(settings, data)
        rows, left_out, more = _open_tables(catalog, wanted, plan.until_ns)
        has_token = _make_token(data)
        (data / RESTORING_FILE).unlink()
        flush(data)
    return Restored(len(wanted.datasets), rows, left_out, has_token, (*faults, *_known_faults(wanted), *more))


def _is_store(plan: RestorePlan) -> bool:
    return plan.storage.startswith(OBJECT_SCHEME)


def _target(plan: RestorePlan, directory: Path | None) -> TablesTarget:
    if directory is not None:
        return DirectoryTarget(directory)
    from tailrace.storage.object_files import open_s3

    return StoreTarget(open_s3(plan.storage))


def _check_empty(data: Path, plan: RestorePlan) -> bool:
    """Return whether a directory is empty; False where this plan was begun in it. Raise RestoreRefused otherwise."""
    begun = unfinished_plan(data)
    if begun == plan:
        return False
    if begun is not None:
        raise RestoreRefused(
            f"{data} has a part of backup {begun.backup}, as another restore was stopped: "
            "give the same options to go on with that, or empty the directory"
        )
    if not data.exists():
        return True
    if not data.is_dir():
        raise RestoreRefused(f"{data} is no directory")
    if found := sorted(path.name for path in data.iterdir() if path.name not in (LOCK_FILE, OF_FILE_SYSTEM)):
        raise RestoreRefused(
            f"{data} is not empty (it has {', '.join(found[:3])}{', …' if len(found) > 3 else ''}): "
            "a backup is restored to an empty directory only"
        )
    return True


def _open_tables(catalog: Catalog, manifest: Manifest, until_ns: int | None) -> tuple[int, int, list[str]]:
    """Open every table, and delete the events from a moment on.

    Return how many events there are, how many were deleted, and what is wrong.
    """
    rows = deleted = 0
    faults = []
    lake = Lake.open(catalog)
    try:
        faults += [each.message for each in lake.unavailable()]
        for info in lake.datasets():
            if until_ns is not None and info.created_ns > until_ns:
                deleted += sum(file.rows for file in lake.snapshot(info.name).files)
                lake.drop(info.name)
                continue
            if until_ns is not None:
                later = partial(_later, catalog.storage(info.name), -(-until_ns // 1000))
                deleted += lake.delete_where(info.name, later).rows_deleted
            rows += sum(file.rows for file in lake.snapshot(info.name).files)
    finally:
        lake.close()
    due = sum(each.dataset.rows for each in manifest.datasets)
    if not faults and rows + deleted != due:
        faults.append(f"{rows + deleted} events were restored, but the backup has {due}")
    return rows, deleted, faults


def _later(storage: TableStorage, since_us: int, file: DataFile, fields: FieldsView) -> RowNumbers:
    """Return the rows of a file that the server took from a moment on."""
    with storage.parquet(file.name) as parquet:
        times = parquet.read([SYSTEM_TIME], use_threads=False)[SYSTEM_TIME]
    return np.flatnonzero(times.cast(pa.int64()).to_numpy() >= since_us)


def _known_faults(manifest: Manifest) -> list[str]:
    """Return what a backup has not, as it was made."""
    faults = [f"dataset {each.name!r} is not in the backup: {each.reason}" for each in manifest.left_out]
    for saved in manifest.datasets:
        name = saved.dataset.name
        if saved.dataset.fault:
            faults.append(f"the latest events of {name!r} are not in the backup: {saved.dataset.fault}")
        faults += [f"file {file} of {name!r} is not in the backup: {why}" for file, why in saved.missing.items()]
    return faults


def _make_token(data: Path) -> bool:
    """Make a token for the owner, as none is in a backup; return whether there is one."""
    if not (data / DATABASE_FILE).exists():
        return False
    with Database.open(data / DATABASE_FILE) as database:
        secret = add_owners_token(database, timestamp(time.time()), TOKEN_NAME)
    if secret is None:
        return False
    replace_durably(data / OWNER_TOKEN_FILE, secret.encode() + b"\n")
    return True


def moment_ns(text: str) -> int:
    """Return a time, RFC 3339 or as `-1h` from now, in ns since the Unix epoch. Raise ValueError."""
    given = f"now{text}" if text[:1] in "+-" else text
    try:
        found = moment("it", given, time.time_ns())
    except BadRequest as error:
        raise ValueError(error.message) from error
    if found is None:
        raise ValueError("it is no time")
    return found


def select(names: Sequence[tuple[str, str]], until_ns: int | None) -> str:
    """Return the id of the backup that is restored, given the ids and times of all, oldest first.

    The newest, or with a moment the first that was made after it. Raise RestoreRefused.
    """
    if not names:
        raise RestoreRefused("there is no backup that is whole")
    if until_ns is None:
        return names[-1][0]
    for backup, created in names:
        if moment_ns(created) >= until_ns:
            return backup
    raise RestoreRefused(
        f"the newest backup is of {names[-1][1]}, before that moment: without --until it is restored as it is"
    )
