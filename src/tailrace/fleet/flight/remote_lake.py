"""One lake of all nodes: what a node asks of a dataset goes to the node that holds it, or to its own lake."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, Protocol, TypeVar, Unpack

import msgspec
import numpy as np
from msgspec.structs import replace

from tailrace.events import DatasetNotFound, DatasetUnavailable
from tailrace.events.declarations import DeclaredFields
from tailrace.fleet.flight import messages
from tailrace.fleet.flight.changes import DatasetChanges
from tailrace.fleet.flight.connection import PeerConnection
from tailrace.fleet.flight.credentials import Credentials, Peer
from tailrace.fleet.flight.directory import Directory
from tailrace.fleet.flight.errors import RETRY_AFTER_S, OwnerMoved, OwnerUnavailable
from tailrace.fleet.flight.hot_parts import PartCache
from tailrace.fleet.flight.operations import DatasetOperation, FilesOperation, perform
from tailrace.fleet.flight.snapshots import RemoteSnapshots
from tailrace.fleet.flight.tails import TailFeeds
from tailrace.lake import sidecar
from tailrace.lake.catalog import NAME, Catalog, DatasetInfo, DatasetOptions, InfoChanges
from tailrace.lake.dataset_state import UnavailableDataset, is_made
from tailrace.lake.dataset_store import DatasetStore
from tailrace.lake.maintenance import Deletion
from tailrace.lake.shared_lake import DatasetElsewhere
from tailrace.lake.snapshot import Check, RowFilter, Snapshot, no_check
from tailrace.lake.state import unavailable_error
from tailrace.lake.table_copy import Keep, TableCopy

CHANGE_TIMEOUT_S = 75.0  # of what changes datasets or files: a lake waits a minute for what is under way
FILES_TIMEOUT_S = 3600.0  # of what rewrites files
STEP_TIMEOUT_S = 15.0
COPY_WAIT_S = 60.0  # for an owner, which nobody has while another node takes over
MOVE_S = 2.0  # in which a dataset that a node gives up is another one's
MOVE_CHECK_S = 0.1

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Owners(Protocol):
    """Which node holds a dataset. Thread-safe; nothing blocks."""

    def owns(self, dataset: str) -> bool:
        """Return whether this process's own lake holds a dataset, or would."""

    def owner(self, dataset: str) -> Peer | None:
        """Return the other lake node that holds a dataset, or would; None where there is none at the moment."""

    def peers(self) -> Sequence[Peer]:
        """Return all other lake nodes that live."""


class OwnerlessReader(Protocol):
    """Reads a dataset without a node that holds it, from its table and the logs. Thread-safe."""

    def snapshot(self, name: str, *, timeout_s: float, check: Check = no_check) -> Snapshot:
        """Return a dataset with what was acknowledged before. Raise as `SnapshotSource.snapshot` does."""


class RemoteLake:
    """The datasets of all lake nodes, of which one may be in this process. Thread-safe.

    `catalog` is this node's, by which it opens the files that a snapshot names. With `ownerless` a dataset can be read
    while nobody holds it. `changes` are those of the `own` lake, as other nodes are told of them, and `feeds` what it
    accepts, as live tails read it. What has no owner raises OwnerUnavailable.
    """

    def __init__(
        self,
        owners: Owners,
        credentials: Credentials,
        catalog: Catalog,
        *,
        own: DatasetStore | None = None,
        changes: DatasetChanges | None = None,
        feeds: TailFeeds | None = None,
        ownerless: OwnerlessReader | None = None,
        cache_bytes: int,
    ) -> None:
        self.cache = PartCache(cache_bytes)
        self._owners = owners
        self._credentials = credentials
        self._own = own
        self._changes = changes
        self._feeds = feeds
        self._ownerless = ownerless
        self._lock = threading.Lock()
        self._connections: dict[Peer, PeerConnection] = {}
        self._directory = Directory(self._connection, owners.peers, lambda name: is_made(catalog, name))
        self._snapshots = RemoteSnapshots(catalog, self.cache)
        self._catalog = catalog

    def start(self, timeout_s: float = 0) -> bool:
        """Follow what lake nodes have; return whether all of them were heard within a time."""
        self._directory.start()
        return self._directory.wait(timeout_s)

    def close(self) -> None:
        """Ask other nodes nothing any more, but what was asked already. The own lake stays open."""
        self._directory.close()
        with self._lock:
            self._connections.clear()

    def renew(self, credentials: Credentials) -> None:
        """Use other credentials for the connections from now on; those that are open go on until their calls end."""
        with self._lock:
            self._credentials = credentials
            self._connections = {}

    def _connection(self, peer: Peer) -> PeerConnection:
        with self._lock:
            if peer not in self._connections:
                # What a node had before under another URL is closed once its last call has ended.
                peers = {peer, *self._owners.peers()}
                self._connections = {each: found for each, found in self._connections.items() if each in peers}
                self._connections[peer] = PeerConnection(peer, self._credentials)
            return self._connections[peer]

    # Datasets, as they were last heard of

    def _own_for(self, name: str) -> DatasetStore | None:
        return self._own if self._own is not None and self._owners.owns(name) else None

    def organisation(self, name: str) -> str | None:
        """Return the organisation of a dataset, "" for the first one; None where there is no such dataset."""
        if (own := self._own_for(name)) is not None and (found := own.organisation(name)) is not None:
            return found
        entry = self._directory.get(name)  # also of what this node is about to open
        if entry is None:
            return None
        return entry.organisation if isinstance(entry, DatasetInfo) else entry.info.organisation

    def datasets(self) -> list[DatasetInfo]:
        """Return all datasets that can be opened, by name."""
        found = {info.name: info for info in self._all(DatasetInfo)}
        if self._own is not None:
            found.update((info.name, info) for info in self._own.datasets() if self._owners.owns(info.name))
        return [found[name] for name in sorted(found)]

    def unavailable(self) -> list[UnavailableDataset]:
        """Return the datasets that cannot be opened, by name."""
        found = {dataset.info.name: dataset for dataset in self._all(UnavailableDataset)}
        if self._own is not None:
            owns = self._owners.owns
            found.update((each.info.name, each) for each in self._own.unavailable() if owns(each.info.name))
        return [found[name] for name in sorted(found)]

    def _all(self, kind: type[T]) -> list[T]:
        """Return the datasets of other nodes."""
        entries = self._directory.entries()
        return [each for name, each in entries.items() if isinstance(each, kind) and self._own_for(name) is None]

    def names(self) -> list[str]:
        """Return the names of all datasets, in order, those that cannot be opened included."""
        return sorted([*(info.name for info in self.datasets()), *(each.info.name for each in self.unavailable())])

    def knows(self, name: str) -> bool:
        """Return whether there is a dataset of this name, including those that cannot be opened.

        Where no lake node would have told of it, its files are asked. Raise DatasetUnavailable where they cannot be.
        """
        own = self._own_for(name)
        if own is not None:
            return own.knows(name)
        return self._directory.get(name) is not None or (not self._is_told(name) and self._is_found(name))

    def _is_told(self, name: str) -> bool:
        """Return whether a lake node would have told of a dataset by now, were there one of this name."""
        owner = self._owners.owner(name)
        return owner is not None and self._directory.knows_all_of(owner, name)

    def _is_found(self, name: str) -> bool:
        """Add a dataset to those that are known, if it has files; return whether it does."""
        try:
            if not NAME.fullmatch(name) or not is_made(self._catalog, name):
                return False
            info = sidecar.load_info(self._catalog.storage(name))
        except FileNotFoundError:  # it was removed meanwhile
            return False
        except (OSError, msgspec.MsgspecError) as error:
            raise unavailable_error(f"dataset {name!r} cannot be read", error) from error
        self._directory.put(info, "")
        return True

    def get(self, name: str) -> DatasetInfo:
        """Raise DatasetNotFound, DatasetUnavailable, OwnerUnavailable while the node that would have it is silent."""
        entry = self._directory.get(name)
        if (own := self._own_for(name)) is not None:
            try:
                return own.get(name)
            except DatasetUnavailable:
                # It opens in a moment, and is known from the node that had it before.
                if not isinstance(entry, DatasetInfo):
                    raise
        if isinstance(entry, DatasetInfo):
            return entry
        if entry is not None:
            raise DatasetUnavailable(entry.message)
        if not self._is_told(name):
            raise _no_owner(name)
        raise DatasetNotFound(f"dataset {name!r} not found")

    def has(self, name: str) -> bool:
        """Return whether there is a dataset of this name that can be opened."""
        own = self._own_for(name)
        return (own is not None and own.has(name)) or isinstance(self._directory.get(name), DatasetInfo)

    def check(self, name: str) -> None:
        """Raise DatasetNotFound or DatasetUnavailable for a dataset that accepts no events."""
        self.get(name)

    def uncommitted(self, name: str) -> int:
        """Return the number of events in no table yet; 0 where another node holds the dataset, which is not asked."""
        own = self._own_for(name)
        return own.uncommitted(name) if own is not None else 0

    # Memory

    @property
    def backlog_bytes(self) -> int:
        """The most that a lake has of batches that are durable but not yet shredded, as each said last."""
        others = [pressure.backlog_bytes for pressure in self._directory.pressures()]
        return max([*others, self._own.backlog_bytes if self._own is not None else 0])

    @property
    def excess_bytes(self) -> int:
        """The most bytes that are too many in a lake's memory, negative where more may come."""
        excess = [pressure.excess_bytes for pressure in self._directory.pressures()]
        if self._own is not None:
            excess.append(self._own.excess_bytes)
        return max(excess, default=-1)

    @property
    def commits(self) -> int:
        """The number of commits of all lakes."""
        others = sum(pressure.commits for pressure in self._directory.pressures())
        return others + (self._own.commits if self._own is not None else 0)

    # Changes of datasets

    def create(self, name: str, **options: Unpack[DatasetOptions]) -> DatasetInfo:
        """Create an empty dataset, which every node knows then; as `Lake.create`."""
        info: DatasetInfo = self._changed(messages.AskCreate(name, **options), DatasetInfo)
        return info

    def update(self, name: str, **changes: Unpack[InfoChanges]) -> DatasetInfo:
        """Change a dataset's info, durably; as `Lake.update`."""
        info: DatasetInfo = self._changed(messages.AskUpdate(name, **changes), DatasetInfo)
        return info

    def declare(self, name: str, fields: DeclaredFields) -> None:
        """Declare fields of a dataset, durably; as `Lake.declare`."""
        self._changed(messages.AskDeclare(name, fields), None)

    def drop(self, name: str) -> None:
        """Remove a dataset and all its events; no node takes any for it then. As `Lake.drop`."""
        self._changed(messages.AskDrop(name), None)
        self._directory.remove(name)

    def _changed(self, asked: DatasetOperation, answer: Any) -> Any:
        """Have the owner change a dataset, of which every node knows then."""
        dropped = asked.name if isinstance(asked, messages.AskDrop) else ""

        def here(own: DatasetStore) -> Any:
            with nullcontext() if self._changes is None else self._changes.changing(dropped):
                return perform(own, asked)

        def there(connection: PeerConnection, check: Check) -> Any:
            changed = connection.call(asked, answer, timeout_s=CHANGE_TIMEOUT_S, check=check)
            if isinstance(changed, DatasetInfo):
                self._directory.put(changed, connection.peer.node)
            return changed

        return self._with_owner(asked.name, here, there)

    # Reading

    def snapshot(self, name: str, *, timeout_s: float, check: Check = no_check) -> Snapshot:
        """Return the dataset with everything that was acknowledged before the call.

        `check` is called now and then, and raises to give up. Raise as `Lake.snapshot` does, and OwnerUnavailable where
        there is no owner and nothing else can read it.
        """
        end_s = time.monotonic() + timeout_s

        def here(own: DatasetStore) -> Snapshot:
            return own.snapshot(name, timeout_s=max(end_s - time.monotonic(), 0), check=check)

        def there(connection: PeerConnection, check: Check) -> Snapshot:
            return self._snapshots.read(connection, name, end_s, check)

        try:
            return self._with_owner(name, here, there, check=check, repeatable_until_s=end_s)
        except DatasetNotFound:
            self._directory.remove(name)
            raise
        except OwnerUnavailable as error:
            if self._ownerless is None:
                raise
            logger.info("dataset %r is read without a node that holds it: %s", name, error)
            return self._ownerless.snapshot(name, timeout_s=max(end_s - time.monotonic(), 0), check=check)

    def tail(self, asked: messages.AskTail, check: Check) -> messages.TailAnswer:
        """Return what came of a dataset since a question, as `TailFeeds.answer` of its owner does. Raise
        OwnerUnavailable.
        """

        def here(own: DatasetStore) -> messages.TailAnswer:
            if self._feeds is None:
                raise _no_owner(asked.dataset)
            return self._feeds.answer(asked)

        def there(connection: PeerConnection, check: Check) -> messages.TailAnswer:
            timeout_s = asked.wait_s + STEP_TIMEOUT_S
            answer: messages.TailAnswer = connection.call(asked, messages.TailAnswer, timeout_s=timeout_s, check=check)
            return answer

        return self._with_owner(asked.dataset, here, there, check=check)

    # Changes of files

    def commit_now(self, name: str | None = None) -> None:
        """Commit everything accepted so far, of one dataset or of all. As `Lake.commit_now`."""
        for each in [name] if name else self.names():
            try:
                self._files(messages.AskCommit(each), None)
            except DatasetNotFound:
                if name:
                    raise
            except DatasetUnavailable as error:
                if name:
                    raise
                logger.error("%s: its events stay in the log", error)

    def copy(self, name: str, keep: Keep) -> TableCopy:
        """Return the table of a dataset to be copied, with everything that was acknowledged before. As `Lake.copy`.

        Waits for an owner, as while another node takes over. Files that are no part of the table any more stay for
        `keep_removed_s`, be they copied or not, where another node has the dataset, or takes it over meanwhile.
        """
        end_s = time.monotonic() + COPY_WAIT_S
        small_files: dict[str, bytes] = {}  # of the last trial alone

        def is_dropped() -> bool:
            return not self.knows(name)

        def here(own: DatasetStore) -> TableCopy:
            small_files.clear()
            # Where another node takes it, this one has it no more, which is no drop.
            return replace(own.copy(name, small_files.__setitem__), is_dropped=is_dropped)

        def there(connection: PeerConnection, check: Check) -> TableCopy:
            asked = messages.AskCopy(name)
            found: messages.CopiedTable = connection.call(
                asked, messages.CopiedTable, timeout_s=CHANGE_TIMEOUT_S, check=check
            )
            small_files.clear()
            small_files.update(found.small_files)
            storage = self._catalog.storage(name)
            return TableCopy(name, found.version, storage, found.files, found.fault, is_dropped, lambda: None)

        while True:
            try:
                copy = self._with_owner(name, here, there)
                break
            except OwnerUnavailable:
                if time.monotonic() >= end_s:
                    raise
                time.sleep(MOVE_CHECK_S)
        try:
            for each, content in small_files.items():
                keep(each, content)
        except BaseException:
            copy.release()
            raise
        return copy

    def trim(self, name: str, older_than_ns: int) -> int:
        """Delete the events before a moment; return how many were deleted. As `Lake.trim`."""
        count: int = self._files(messages.AskTrim(name, older_than_ns), int)
        return count

    def compact(self, name: str) -> None:
        """Merge the files of a dataset. As `Lake.compact`."""
        self._files(messages.AskCompact(name), None)

    def sweep(self, name: str) -> int:
        """Delete files that are no part of a table any more; return how many. As `Lake.sweep`."""
        count: int = self._files(messages.AskSweep(name), int)
        return count

    def _files(self, asked: FilesOperation, answer: Any) -> Any:
        """Have the owner of a dataset change its files."""

        def there(connection: PeerConnection, check: Check) -> Any:
            return connection.call(asked, answer, timeout_s=FILES_TIMEOUT_S, check=check)

        return self._with_owner(asked.name, lambda own: perform(own, asked), there)

    def delete_where(self, name: str, matching: RowFilter, *, dry_run: bool = False) -> Deletion:
        """Delete the events that a filter matches, which is applied here, file by file. As `Lake.delete_where`."""
        storage = self._catalog.storage(name)

        def there(connection: PeerConnection, check: Check) -> Deletion:
            def step(asked: messages.Asked) -> messages.DeletionStep:
                found: messages.DeletionStep = connection.call(
                    asked, messages.DeletionStep, timeout_s=STEP_TIMEOUT_S, check=check
                )
                return found

            found = step(messages.AskDeletion(name, dry_run))
            number, rows = 0, None
            while not isinstance(found, messages.DeletionDone):
                deletion = found.deletion
                if isinstance(found, messages.FileQuestion) and found.number > number:
                    file = replace(found.file, location=storage.readable(found.file.name))
                    try:
                        rows = np.ascontiguousarray(matching(file, found.fields), np.int64).tobytes()
                    except BaseException:
                        step(messages.AnswerFile(deletion, found.number, is_given_up=True))
                        raise
                    number = found.number
                found = step(messages.AnswerFile(deletion, number, rows))
            return found.deletion

        return self._with_owner(name, lambda own: own.delete_where(name, matching, dry_run=dry_run), there)

    # The owner

    def _with_owner(
        self,
        name: str,
        here: Callable[[DatasetStore], T],
        there: Callable[[PeerConnection, Check], T],
        *,
        check: Check = no_check,
        repeatable_until_s: float = 0,
    ) -> T:
        """Return what is done with the owner of a dataset, here or there; with another one, where it was given to that.

        What is repeatable, until a moment of the monotonic clock, is also done again where the first owner is lost
        while it is waited for. Raise OwnerUnavailable where there is none, or it is not reached.
        """
        move_end_s = time.monotonic() + MOVE_S
        while True:
            own = self._own_for(name)
            owner = self._owners.owner(name)
            if own is None and owner is None:
                raise _no_owner(name)

            def is_owner(owner: Peer | None = owner) -> None:
                check()
                if self._owners.owner(name) != owner:
                    raise _no_owner(name)

            try:
                if own is not None:
                    return here(own)
                assert owner is not None
                return there(self._connection(owner), is_owner)
            except DatasetElsewhere as error:
                if time.monotonic() >= move_end_s:
                    raise _no_owner(name) from error
            except OwnerUnavailable:
                is_other = self._owners.owner(name) not in (owner, None)
                if not is_other or time.monotonic() >= repeatable_until_s:
                    raise
            time.sleep(MOVE_CHECK_S)
            check()


def _no_owner(name: str) -> OwnerMoved:
    return OwnerMoved(
        f"dataset {name!r} is held by no lake node at the moment: try again in some seconds",
        retry_after_s=RETRY_AFTER_S,
    )
