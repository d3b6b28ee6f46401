"""How far an import has come, in a file, so that one that was stopped goes on and sends nothing twice.

Each body that is sent has a number, and an idempotency key made of that. The body of which it is not known whether it
arrived is in the file, and is sent first, under the same key.
"""

import os
import uuid
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tailrace.cli.errors import CommandError, reason_of


class PendingBody(Struct, frozen=True):
    """A body that may have arrived."""

    body: bytes
    events: int
    content_type: str
    cursor: str  # after it


class Progressed(Struct, frozen=True):
    """How far an import is."""

    source: str  # what is imported, and into which dataset
    run: str  # of which its idempotency keys are made
    sent: int = 0  # bodies that are known to have arrived
    events: int = 0  # of those
    cursor: str = ""  # after the last of them, of a source with pages
    pending: PendingBody | None = None
    is_done: bool = False


class ImportState:
    """The file of one import."""

    def __init__(self, path: Path, source: str) -> None:
        """Open it, or begin a new one. Raise CommandError for a file of another import."""
        self.path = path
        try:
            self.now = msgspec.json.decode(path.read_bytes(), type=Progressed)
        except FileNotFoundError:
            self.now = Progressed(source, uuid.uuid4().hex)
            return
        except (OSError, msgspec.MsgspecError) as error:
            raise CommandError(f"{path} cannot be read ({error}): delete it to begin the import again") from error
        if self.now.source != source:
            raise CommandError(f"{path} is of another import ({self.now.source}): give another --state")

    @property
    def key(self) -> str:
        """The idempotency key of the body that is sent next."""
        return f'"{self.now.run}-{self.now.sent}"'

    def begin(self, pending: PendingBody) -> None:
        """Note a body before it is sent."""
        self._store(replace(self.now, pending=pending))

    def end(self, events: int) -> None:
        """Note that the body has arrived, with so many events taken."""
        assert self.now.pending is not None
        sent, cursor = self.now.sent + 1, self.now.pending.cursor
        self._store(replace(self.now, sent=sent, cursor=cursor, events=self.now.events + events, pending=None))

    def finish(self) -> None:
        """Note that all of it has arrived."""
        self._store(replace(self.now, is_done=True))

    def _store(self, now: Progressed) -> None:
        partial = self.path.with_name(f"{self.path.name}.new")
        try:
            with partial.open("wb") as file:
                file.write(msgspec.json.encode(now))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.path)
        except OSError as error:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            # Another file would know nothing of what was sent.
            advice = "run it again once it can be" if self.now.sent or self.now.pending else "give another --state"
            raise CommandError(f"{self.path} cannot be written: {reason_of(error)}; {advice}") from error
        self.now = now
