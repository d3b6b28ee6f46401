"""Idempotency keys of stored batches, in memory and in a file: what the log will not tell again once it is released.

The log has the key of a batch in the frame of its events, so that a crash leaves both or none. The file gets the keys
before the log deletes them. Format: FILE_MAGIC, then records of RECORD_BYTES, little endian: digest and fingerprint
(16 bytes each), count (uint64), received (int64, ns since the Unix epoch), position in the log (int64), and the
CRC32C (uint32) of what is before it in the record. Only the end is written to; from time to time a new file, with what
is still remembered, replaces it.
"""

import logging
import os
import struct
import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

import google_crc32c
from msgspec import Struct
from msgspec.structs import replace

from tailrace.events import Batch
from tailrace.events.idempotency import BatchKey, IdempotencySettings
from tailrace.storage.files import read_bytes, replace_durably

FILE_MAGIC = b"TLRKEYS1"
COMPACTED_RECORDS = 100_000  # a file with so many records that are not remembered any more is written anew

_FIELDS = struct.Struct("<16s16sQqq")
_CRC = struct.Struct("<I")
RECORD_BYTES = _FIELDS.size + _CRC.size
_NS_PER_S = 1_000_000_000

logger = logging.getLogger(__name__)


class RememberedKey(Struct, frozen=True, gc=False):
    """The key of a batch that is durable."""

    fingerprint: bytes
    count: int
    received_ns: int
    position: int


class IdempotencyKeys:
    """The keys of durable batches, by digest. Any thread may call its methods."""

    def __init__(self, path: Path, settings: IdempotencySettings) -> None:
        self.window_ns = int(settings.window_s * _NS_PER_S)
        self._path = path
        self._max_keys = settings.max_keys
        self._state = threading.Lock()  # guards what is in memory; never held during I/O
        self._keys: OrderedDict[bytes, RememberedKey] = OrderedDict()  # oldest first
        self._unwritten: list[bytes] = []  # records
        self._writing = threading.Lock()  # guards the file; taken before _state
        self._records = 0  # in the file
        self._is_sound = True  # whether the file can be appended to
        self.is_used = False  # whether there is a file: without one no key was ever stored
        self.replay_from = 0  # position in the log: the file has all keys before it

    @classmethod
    def open(cls, path: Path, settings: IdempotencySettings, *, now_ns: int) -> "IdempotencyKeys":
        """Open the store of a file, which is made with the first key; raise OSError where it cannot be read.

        What is damaged in it is left out and logged.
        """
        store = cls(path, settings)
        content = read_bytes(path)
        if content is not None:
            store._load(content, now_ns - store.window_ns)
        return store

    def begin(self) -> None:
        """Make the file, durable, before the first key is stored: without it the log is not searched for keys."""
        with self._writing:
            if not self.is_used:
                self._replace([])
                self.is_used = True

    def find(self, digest: bytes, received_ns: int) -> RememberedKey | None:
        """Return what was stored under a key within the window before."""
        known = self._keys.get(digest)
        return None if known is None or known.received_ns < received_ns - self.window_ns else known

    def observe(self, batches: Iterable[tuple[int, Batch]]) -> None:
        """Remember the keys of durable batches, each with its position; those that are known already stay."""
        for position, batch in batches:
            for key in batch.keys:
                self._remember(key, batch.received_ns, position)

    def content(self) -> bytes | None:
        """Return a file of all keys for a backup, beside which there is no log: they are in it from the first position
        on. None where no key was ever stored.
        """
        if not self.is_used:
            return None
        with self._state:
            remembered = list(self._keys.items())
        return FILE_MAGIC + b"".join(_record(digest, replace(key, position=0)) for digest, key in remembered)

    def flush(self) -> None:
        """Write the keys that the file has not; raise OSError where that fails, and nothing is lost then."""
        with self._writing:
            with self._state:
                records = list(self._unwritten)
                remembered = list(self._keys.items())
            if not records:
                return
            if self._is_sound and self._records - len(remembered) <= COMPACTED_RECORDS:
                self._append(records)
            else:
                self._replace([_record(*entry) for entry in remembered])
            with self._state:
                del self._unwritten[: len(records)]

    def _remember(self, key: BatchKey, received_ns: int, position: int) -> None:
        with self._state:
            known = self._keys.get(key.digest)
            if known is not None and known.position >= position:
                return
            remembered = RememberedKey(key.fingerprint, key.count, received_ns, position)
            self._insert(key.digest, remembered, received_ns - self.window_ns)
            self._unwritten.append(_record(key.digest, remembered))

    def _insert(self, digest: bytes, remembered: RememberedKey, oldest_ns: int) -> None:
        self._keys[digest] = remembered
        self._keys.move_to_end(digest)
        while len(self._keys) > self._max_keys or next(iter(self._keys.values())).received_ns < oldest_ns:
            self._keys.popitem(last=False)
            if not self._keys:
                return

    def _load(self, content: bytes, oldest_ns: int) -> None:
        self.is_used = True
        if not content.startswith(FILE_MAGIC):
            logger.error("%s has no keys that can be read: repeated requests before it may be stored again", self._path)
            self._is_sound = False
            return
        body = memoryview(content)[len(FILE_MAGIC) :]
        damaged = 0
        for start in range(0, len(body) - RECORD_BYTES + 1, RECORD_BYTES):
            record = bytes(body[start : start + RECORD_BYTES])
            if _CRC.unpack_from(record, _FIELDS.size)[0] != google_crc32c.value(record[: _FIELDS.size]):
                damaged += 1
                continue
            digest, fingerprint, count, received_ns, position = _FIELDS.unpack_from(record)
            self._records += 1
            if not damaged:  # what follows an interrupted write may lack others before it
                self.replay_from = max(self.replay_from, position + 1)
            if received_ns >= oldest_ns:
                self._insert(digest, RememberedKey(fingerprint, count, received_ns, position), oldest_ns)
        self._is_sound = not damaged and len(body) % RECORD_BYTES == 0
        if damaged:
            logger.error("%s: %d keys cannot be read; what the log has of them is read again", self._path, damaged)

    def _append(self, records: list[bytes]) -> None:
        try:
            with self._path.open("r+b") as file:
                file.seek(len(FILE_MAGIC) + self._records * RECORD_BYTES)
                file.write(b"".join(records))
                file.flush()
                os.fdatasync(file.fileno())
        except OSError:
            self._is_sound = False  # what of it is on the disk is not known
            raise
        self._records += len(records)

    def _replace(self, records: list[bytes]) -> None:
        replace_durably(self._path, FILE_MAGIC + b"".join(records))
        self._records = len(records)
        self._is_sound = True


def _record(digest: bytes, key: RememberedKey) -> bytes:
    fields = _FIELDS.pack(digest, key.fingerprint, key.count, key.received_ns, key.position)
    return fields + _CRC.pack(google_crc32c.value(fields))
