"""What one node asks of another's lake, and what it answers, as msgpack."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from msgspec import Struct

from tailrace.events.declarations import DeclaredFields
from tailrace.lake.catalog import DEFAULT_KIND, DatasetInfo
from tailrace.lake.dataset_state import UnavailableDataset
from tailrace.lake.maintenance import Deletion
from tailrace.lake.snapshot import DataFile, FieldsView, Received

HELLO, CALL = "hello", "call"  # types of actions
PARTS = b"parts"  # the kind of a call that is answered by a stream

# Asked.


class AskSnapshot(Struct, frozen=True, tag=True):
    """A dataset as it is now, but for what the client has of it."""

    dataset: str
    timeout_s: float
    process: str = ""  # of the server, whose versions the following are
    files_version: int = 0
    fields_version: int = 0


class AskParts(Struct, frozen=True, tag=True):
    """Hot rows, of parts with the same columns."""

    numbers: tuple[int, ...]


class AskChanges(Struct, frozen=True, tag=True):
    """The datasets that are other ones since a revision, which the client knows; waits for one."""

    client: str
    process: str
    revision: int
    wait_s: float


class AskCreate(Struct, frozen=True, tag=True):
    """A new dataset, with its `DatasetOptions`."""

    name: str
    description: str = ""
    who: str = ""
    primary_key: str = ""
    kind: str = DEFAULT_KIND
    retention_days: int = 0
    use_retention_period: bool = False
    organisation: str = ""
    edge_deployment: str = ""


class AskUpdate(Struct, frozen=True, tag=True):
    """Another info of a dataset, by its `InfoChanges`."""

    name: str
    description: str | None = None
    retention_days: int | None = None
    use_retention_period: bool | None = None


class AskDeclare(Struct, frozen=True, tag=True):
    """Fields to be declared."""

    name: str
    fields: DeclaredFields


class AskDrop(Struct, frozen=True, tag=True):
    """A dataset to be dropped."""

    name: str


class AskCommit(Struct, frozen=True, tag=True):
    """A commit of what a dataset has in memory."""

    name: str


class AskTrim(Struct, frozen=True, tag=True):
    """Events to be deleted by their age."""

    name: str
    older_than_ns: int


class AskCompact(Struct, frozen=True, tag=True):
    """The files of a dataset to be merged."""

    name: str


class AskSweep(Struct, frozen=True, tag=True):
    """Files to be deleted that are no part of a table."""

    name: str


class AskCopy(Struct, frozen=True, tag=True):
    """A table to be copied."""

    name: str


class AskDeletion(Struct, frozen=True, tag=True):
    """A deletion by a filter, which the client has: it is asked of it file by file."""

    name: str
    dry_run: bool


class AnswerFile(Struct, frozen=True, tag=True):
    """What the client's filter says of a file, and the question what comes next."""

    deletion: str
    file: int  # the number of the last file that it was asked of, 0 before the first
    rows: bytes | None = None  # their numbers, 8 bytes each; None where the filter failed
    is_given_up: bool = False


class AskTail(Struct, frozen=True, tag=True):
    """The events of a dataset from a moment on; waits for some."""

    dataset: str
    feed: str  # that the last answer came from; empty for the first question
    after: int  # as the last answer says
    wait_s: float


Asked: TypeAlias = (
    AskSnapshot
    | AskTail
    | AskParts
    | AskChanges
    | AskCreate
    | AskUpdate
    | AskDeclare
    | AskDrop
    | AskCommit
    | AskTrim
    | AskCompact
    | AskSweep
    | AskCopy
    | AskDeletion
    | AnswerFile
)

# Answered.


class HotHeader(Struct, frozen=True, array_like=True):
    """What a snapshot says of a part of its hot rows."""

    number: int  # of the part, in the server's process
    schema: int  # parts with the same have the same columns
    rows: int
    min_time_us: int
    max_time_us: int
    columns: frozenset[str]  # those that have a value


class SnapshotHeader(Struct, frozen=True, array_like=True):
    """A snapshot without its hot rows. What the client has already is None."""

    process: str
    files_version: int
    files: tuple[DataFile, ...] | None  # without locations
    fields_version: int
    fields: FieldsView | None
    hot: tuple[HotHeader, ...]
    primary_key: str
    received: Received
    timespans: frozenset[str]


class PartChunk(Struct, frozen=True, array_like=True):
    """What stands beside each batch of a stream of hot rows."""

    number: int  # of the part
    proof: bytes = b""  # with the first batch
    error: bytes = b""  # in place of all rows


class LakePressure(Struct, frozen=True, array_like=True):
    """What a lake has in memory."""

    backlog_bytes: int = 0
    excess_bytes: int = 0
    commits: int = 0


class Changes(Struct, frozen=True, array_like=True):
    """The datasets of a lake that are other ones since a revision."""

    process: str
    revision: int
    infos: tuple[DatasetInfo, ...]
    unavailable: tuple[UnavailableDataset, ...]
    opening: frozenset[str]  # that are there, and will be open in a moment
    dropped: Mapping[str, int]  # when each was created, in ns since the Unix epoch
    shards: frozenset[int] | None  # of which there are no others; None: of all
    pressure: LakePressure


class CopiedTable(Struct, frozen=True, array_like=True):
    """A table to be copied, whose data files the client reads itself."""

    version: int
    files: tuple[DataFile, ...]  # without locations
    small_files: dict[str, bytes]  # beside it, by name
    fault: str  # why events that were accepted before are not in the table


class SentBatch(Struct, frozen=True, array_like=True):
    """A batch of a live tail."""

    events: bytes
    times: bytes  # 8 bytes each, ns since the Unix epoch
    count: int
    received_ns: int
    labels: dict[str, Any]


class TailAnswer(Struct, frozen=True, array_like=True):
    """What came of a dataset since a question."""

    feed: str
    after: int  # for the next question
    missed: int  # events that are not kept any more
    batches: tuple[SentBatch, ...]


class FileQuestion(Struct, frozen=True, tag=True):
    """A file of which a deletion asks the client's filter."""

    deletion: str
    number: int
    file: DataFile  # without its location
    fields: FieldsView


class DeletionDone(Struct, frozen=True, tag=True):
    """What a deletion did."""

    deletion: Deletion


class DeletionBegun(Struct, frozen=True, tag=True):
    """A deletion that asks nothing yet."""

    deletion: str


DeletionStep: TypeAlias = FileQuestion | DeletionDone | DeletionBegun
