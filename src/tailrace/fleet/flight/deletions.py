"""Deletions by a filter that another node has: the lake's thread asks, and that node's calls answer."""

import logging
import threading
import time
import uuid
from collections.abc import Callable

import numpy as np
from msgspec.structs import replace

from tailrace.events import NotFound, Overloaded, ShuttingDown, TailraceError
from tailrace.fleet.flight.messages import (
    AnswerFile,
    AskDeletion,
    DeletionBegun,
    DeletionDone,
    DeletionStep,
    FileQuestion,
)
from tailrace.lake.dataset_store import DatasetStore
from tailrace.lake.snapshot import DataFile, FieldsView, RowNumbers

PATIENCE_S = 30.0  # with a client that says nothing
STEP_S = 5.0  # after which a call is answered, whether there is a question or not
REMEMBERED_S = 60.0  # what one did, or why it failed
MAX_DELETIONS = 64  # at the same time

logger = logging.getLogger(__name__)


class FilterFailed(TailraceError):
    """The filter of a deletion raised, or the node that has it is gone."""

    status = 503
    code = "filter_failed"
    retryable = True


class _Deletion:
    """One deletion, which runs in a thread of its own."""

    def __init__(self, lake: DatasetStore, asked: AskDeletion, clock: Callable[[], float]) -> None:
        self.id = uuid.uuid4().hex
        self.ended_s: float | None = None
        self._lake = lake
        self._asked = asked
        self._clock = clock
        self._changed = threading.Condition()
        self._heard_s = clock()
        self._asked_files = 0
        self._question: FileQuestion | None = None
        self._answer: RowNumbers | None = None
        self._given_up: TailraceError | None = None
        self._result: DeletionDone | Exception | None = None
        self._thread = threading.Thread(target=self._run, name="tailrace-deletion", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def give_up(self, error: TailraceError) -> None:
        """Have it fail with an error, unless its last file was answered."""
        with self._changed:
            self._given_up = error
            self._changed.notify_all()

    def step(self, answer: AnswerFile) -> DeletionStep:
        """Take an answer, and return what is asked next, or was done. Raise what the lake raises."""
        with self._changed:
            self._heard_s = self._clock()
            if answer.is_given_up:
                self._given_up = FilterFailed("the filter of the deletion failed")
            question = self._question
            if question is not None and question.number == answer.file and answer.rows is not None:
                self._answer = np.frombuffer(answer.rows, np.int64)
                self._question = None
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._result is not None or self._question is not None, STEP_S)
            if isinstance(self._result, Exception):
                raise self._result
            self._heard_s = self._clock()
            return self._result or self._question or DeletionBegun(self.id)

    def _run(self) -> None:
        result: DeletionDone | Exception
        try:
            result = DeletionDone(self._lake.delete_where(self._asked.name, self._ask, dry_run=self._asked.dry_run))
        except Exception as error:  # noqa: BLE001 - raised to whoever asks next
            result = error
        with self._changed:
            self._result = result
            self.ended_s = self._clock()
            self._changed.notify_all()

    def _ask(self, file: DataFile, fields: FieldsView) -> RowNumbers:
        """Return the rows of a file that the client's filter matches. Raise FilterFailed."""
        with self._changed:
            self._asked_files += 1
            self._answer = None
            self._question = FileQuestion(self.id, self._asked_files, replace(file, location=""), fields)
            self._changed.notify_all()
            while self._answer is None and self._given_up is None:
                left_s = self._heard_s + PATIENCE_S - self._clock()
                if left_s <= 0:
                    raise FilterFailed("the node that asked for the deletion says nothing any more")
                self._changed.wait(left_s)
            if self._given_up is not None:
                raise self._given_up
            assert self._answer is not None
            return self._answer


class Deletions:
    """The deletions under way in a lake. Thread-safe."""

    def __init__(self, lake: DatasetStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._lake = lake
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, _Deletion] = {}

    def begin(self, asked: AskDeletion) -> DeletionBegun:
        """Begin a deletion. Raise Overloaded where there are too many."""
        deletion = _Deletion(self._lake, asked, self._clock)
        with self._lock:
            if len(self._known) >= MAX_DELETIONS:
                raise Overloaded(f"{MAX_DELETIONS} deletions are under way: try again later", retry_after_s=5)
            self._known[deletion.id] = deletion
        deletion.start()
        return DeletionBegun(deletion.id)

    def step(self, answer: AnswerFile) -> DeletionStep:
        """Take an answer, where there was a question, and return the next step. Raise what the deletion raises."""
        with self._lock:
            deletion = self._known.get(answer.deletion)
        if deletion is None:
            raise NotFound("there is no such deletion any more: its node has started anew")
        return deletion.step(answer)

    def prune(self) -> None:
        """Forget those that have ended."""
        until_s = self._clock() - REMEMBERED_S
        with self._lock:
            self._known = {
                each.id: each for each in self._known.values() if each.ended_s is None or each.ended_s > until_s
            }

    def close(self) -> None:
        """Have those fail that are under way."""
        with self._lock:
            known = list(self._known.values())
        for deletion in known:
            deletion.give_up(ShuttingDown("the server is shutting down", retry_after_s=5))
