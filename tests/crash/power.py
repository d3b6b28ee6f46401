"""What a power cut may leave of a directory: recorded while a program works in it, and built anew as often as wanted.

A `Recorder` stands between the program and the calls on which durability hangs. After each of them it notes what the
directory holds, and after each flush what of it is on the disk from then on. `cut` makes of that one of the states in
which the power may be found gone at a moment: what was flushed is there; of the rest each name may be there or not, and
the content of a file may be that of any moment since its last flush, whole, short, or with pages of the one and the
other. The names of a rename come and go together. Content and names are apart: a name says nothing of its file.
"""

import builtins
import errno
import io
import os
import random
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

PAGE_BYTES = 4096
FLUSHES = ("fsync", "fdatasync")
CHANGES = ("rename", "replace", "link", "unlink", "mkdir", "rmdir", "pwritev", "ftruncate")
WHOLE = 0.4  # of the contents that were not flushed
TOO_FRESH_NS = 50_000_000  # of a file's time, which may be that of another change

Node = int
"""A file or directory, under whatever names it has."""
Names = Mapping[str, Node]
Change = tuple[Node, str, Node | None, Node | None]
"""In a directory, of a name: what was there before, and what is there now."""
ROOT: Node = 0


class Step(Struct, frozen=True, eq=False):
    """What there is after a call, as the program sees it and as the disk has it."""

    call: str
    names: Mapping[Node, Names]  # of each directory
    contents: Mapping[Node, bytes]  # of each file
    kept_names: Mapping[Node, Names]
    kept_contents: Mapping[Node, bytes]
    kept_at: Mapping[Node, int]  # the step of the last flush of each


class Recorder:
    """Records what happens in a directory, from within the process that does it. Thread-safe.

    `fails(number)` says of each flush, counted from 0, whether it fails: what was to be flushed is lost to later ones
    then, as the system takes its pages for written. `read_only(number)` says of each call that writes, counted from 0,
    whether the file system is read-only then, as after an error of its disk. `short(number)` says of each write whether
    only a part of it is made.
    """

    def __init__(
        self,
        root: Path,
        fails: Callable[[int], bool] = lambda number: False,
        *,
        read_only: Callable[[int], bool] = lambda number: False,
        short: Callable[[int], bool] = lambda number: False,
    ) -> None:
        self.root = root
        self.steps: list[Step] = []
        self.directories: set[Node] = set()  # all that ever were
        self.flushes = 0
        self.writes = 0  # calls that write, flushes included
        self.refused = 0  # of these, as the file system was read-only
        self.lock = threading.RLock()
        self._fails = fails
        self._read_only = read_only
        self._short = short
        self._nodes: dict[tuple[int, int], Node] = {}  # by device and inode
        self._known: dict[Node, tuple[tuple[int, int], bytes]] = {}  # time and size of a file, and what it held
        self._next = 0
        self._names: dict[Node, Names] = {}
        self._contents: dict[Node, bytes] = {}
        self._kept_names: dict[Node, Names] = {}
        self._kept_contents: dict[Node, bytes] = {}
        self._kept_at: dict[Node, int] = {}
        self._lost_names: dict[Node, Names] = {}
        self._lost_contents: dict[Node, bytes] = {}
        self._note()
        # What is there at the beginning is on the disk.
        self._kept_names, self._kept_contents = dict(self._names), dict(self._contents)
        self.steps.clear()
        self._note()

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record all that the process does in this time."""
        with pytest.MonkeyPatch.context() as patched:
            for name in FLUSHES:
                patched.setattr(os, name, self._flush)
            for name in CHANGES:
                patched.setattr(os, name, self._change(getattr(os, name)))
            patched.setattr(os, "pwritev", self._shortened(os.pwritev))
            patched.setattr(os, "open", self._opened(os.open))
            for module in (io, builtins):
                patched.setattr(module, "open", self._opened(io.open))
            yield

    def now(self) -> int:
        """Return the number of the last step."""
        with self.lock:
            return len(self.steps) - 1

    def _change(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*arguments: Any, **named: Any) -> Any:
            with self.lock:
                self._count_write()
                try:
                    return call(*arguments, **named)
                finally:
                    self._note(f"{call.__name__} {' '.join(map(str, arguments))[:200]}")

        return changed

    def _count_write(self) -> None:
        """Raise OSError where the file system is read-only now."""
        number = self.writes
        self.writes += 1
        if self._read_only(number):
            self.refused += 1
            raise OSError(errno.EROFS, "Read-only file system")

    def _opened(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """To open for writing fails where the file system is read-only."""

        def opened(path: Any, how: Any = "r", *arguments: Any, **named: Any) -> Any:
            writes = how & (os.O_WRONLY | os.O_RDWR) if isinstance(how, int) else set(how) & set("wax+")
            if writes and isinstance(path, str | os.PathLike) and Path(path).is_relative_to(self.root):
                with self.lock:
                    self._count_write()
            return call(path, how, *arguments, **named)

        return opened

    def _shortened(self, call: Callable[..., int]) -> Callable[..., int]:
        """Return a write as it may be made in part, of the first buffer's first half."""

        def written(descriptor: int, buffers: Any, *arguments: Any) -> int:
            if self._short(self.writes) and len(buffers[0]) > 1:
                buffers = [bytes(buffers[0])[: len(buffers[0]) // 2]]
            return call(descriptor, buffers, *arguments)

        return written

    def _flush(self, descriptor: int) -> None:
        """Stand for a flush, which need not be made: what would be on the disk is kept here."""
        found = os.fstat(descriptor)
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        with self.lock:
            self._look()
            node = self._nodes.get((found.st_dev, found.st_ino))
            if node is None:  # in another directory
                return
            number = self.flushes
            self.flushes += 1
            try:
                self._count_write()
            except OSError:
                self._lose(node)
                raise
            if self._fails(number):
                self._lose(node)
                self._note(f"flush that fails of {path}")
                raise OSError(errno.EIO, "Input/output error")
            self._keep(node)
            self._note(f"flush of {path}")

    def _keep(self, node: Node) -> None:
        self._kept_at[node] = len(self.steps)
        if node in self._names:
            lost = self._lost_names.get(node, {})
            before = self._kept_names.get(node, {})
            now = self._names[node]
            kept = {name: there for name, there in now.items() if lost.get(name) != there or before.get(name) == there}
            # What a rename took the name of stays, where the rename is lost.
            kept = {name: before[name] for name in now if name in before and name not in kept} | kept
            # What went away before a flush that failed may come back.
            missing = {name: there for name, there in before.items() if name not in now and name not in lost}
            self._kept_names[node] = {**(missing if node in self._lost_names else {}), **kept}
        else:
            now_bytes = self._contents[node]
            if node in self._lost_contents:
                now_bytes = _without_lost(now_bytes, self._lost_contents[node], self._kept_contents.get(node, b""))
            self._kept_contents[node] = now_bytes

    def _lose(self, node: Node) -> None:
        if node in self._names:
            self._lost_names[node] = self._names[node]
        else:
            self._lost_contents[node] = self._contents[node]

    def _note(self, call: str = "") -> None:
        self._look()
        self.steps.append(
            Step(
                call,
                dict(self._names),
                dict(self._contents),
                dict(self._kept_names),
                dict(self._kept_contents),
                dict(self._kept_at),
            )
        )

    def _look(self) -> None:
        names: dict[Node, Names] = {}
        contents: dict[Node, bytes] = {}
        met: dict[tuple[int, int], Node] = {}
        self._walk(self.root, names, contents, met)
        # An inode that is in no directory any more may come back as another file.
        self._nodes, self._names, self._contents = met, names, contents

    def _walk(
        self, path: Path, names: dict[Node, Names], contents: dict[Node, bytes], met: dict[tuple[int, int], Node]
    ) -> Node:
        found = os.stat(path)
        key = found.st_dev, found.st_ino
        if key in met:
            return met[key]
        node = self._nodes.get(key)
        if node is None or (node in self._names) != stat.S_ISDIR(found.st_mode):
            node, self._next = self._next, self._next + 1
        met[key] = node
        if not stat.S_ISDIR(found.st_mode):
            contents[node] = self._read(path, node, found)
            return node
        inside: dict[str, Node] = {}
        for name in sorted(os.listdir(path)):
            try:
                inside[name] = self._walk(path / name, names, contents, met)
            except FileNotFoundError:  # renamed meanwhile by a library that does not go through Python
                continue
        names[node] = inside
        self.directories.add(node)
        return node

    def _read(self, path: Path, node: Node, found: os.stat_result) -> bytes:
        state = found.st_mtime_ns, found.st_size
        known = self._known.get(node)
        if known is not None and known[0] == state and time.time_ns() - found.st_mtime_ns > TOO_FRESH_NS:
            return known[1]
        content = path.read_bytes()
        if known is not None and known[1] == content:
            content = known[1]
        self._known[node] = state, content
        return content


def _pages(content: bytes) -> list[bytes]:
    return [content[start : start + PAGE_BYTES] for start in range(0, len(content), PAGE_BYTES)]


def _without_lost(now: bytes, lost: bytes, kept: bytes) -> bytes:
    """Return what a flush brings to the disk after one that failed: the pages that have changed since."""
    at_failure, before = _pages(lost), _pages(kept)
    made = b""
    for number, page in enumerate(_pages(now)):
        if number < len(at_failure) and at_failure[number] == page:
            old = before[number] if number < len(before) else b""
            page = (old + bytes(PAGE_BYTES))[: len(page)]
        made += page
    return made


def cut(record: Recorder, moment: int, chance: random.Random, target: Path) -> None:
    """Build, at `target`, a state that a power cut after step `moment` may leave."""
    steps, step = record.steps, record.steps[moment]
    dropped = chance.choice((0.0, 0.5, 1.0))  # of what need not be there
    names: dict[Node, dict[str, Node]] = {node: {} for node in record.directories}
    names |= {node: dict(kept) for node, kept in step.kept_names.items()}
    changes: list[Change] = []
    for directory in step.names:
        before = names[directory]
        now = steps[chance.randint(step.kept_at.get(directory, 0), moment)].names.get(directory, {})
        changes += [
            (directory, name, before.get(name), now.get(name))
            for name in sorted(before.keys() | now.keys())
            if before.get(name) != now.get(name)
        ]
    for group in _together(changes):
        if chance.random() < dropped:
            continue
        for directory, name, _, node in group:
            if node is None:
                names[directory].pop(name, None)
            else:
                names[directory][name] = node
    _build(ROOT, names, lambda node: _content(steps, moment, node, chance, dropped), target)


def _together(changes: list[Change]) -> list[list[Change]]:
    """Return the changes that share a file, as those of a rename, which is made or not."""
    groups: list[tuple[set[Node], list[Change]]] = []
    for change in changes:
        nodes = {node for node in change[2:] if node is not None}
        group = [change]
        for other in [one for one in groups if one[0] & nodes]:
            groups.remove(other)
            nodes |= other[0]
            group += other[1]
        groups.append((nodes, group))
    return [group for _, group in groups]


def _content(steps: list[Step], moment: int, node: Node, chance: random.Random, dropped: float) -> bytes:
    kept = steps[moment].kept_contents.get(node, b"")
    later = steps[chance.randint(steps[moment].kept_at.get(node, 0), moment)].contents.get(node, kept)
    if later == kept or chance.random() < dropped:
        return kept
    if chance.random() < WHOLE:
        return later
    shorter, longer = sorted((len(kept), len(later)))
    size = chance.choice((shorter, longer, chance.randint(shorter, longer)))
    made = b""
    for start in range(0, size, PAGE_BYTES):
        page = chance.choice((kept, later))[start : start + PAGE_BYTES]
        made += page + bytes(PAGE_BYTES - len(page))
    return made[:size]


def _build(node: Node, names: Mapping[Node, Names], content: Callable[[Node], bytes], target: Path) -> None:
    target.mkdir()
    for name, inner in names[node].items():
        if inner in names:
            _build(inner, names, content, target / name)
        else:
            (target / name).write_bytes(content(inner))
