"""What one node asks of another's lake that changes something, done with a lake."""

from typing import TypeAlias

from msgspec.structs import asdict

from tailrace.fleet.flight.messages import (
    AskCommit,
    AskCompact,
    AskCreate,
    AskDeclare,
    AskDrop,
    AskSweep,
    AskTrim,
    AskUpdate,
)
from tailrace.lake.catalog import DatasetInfo
from tailrace.lake.dataset_store import DatasetStore

DatasetOperation: TypeAlias = AskCreate | AskUpdate | AskDeclare | AskDrop
"""Changes which datasets there are, or what is known of one."""
FilesOperation: TypeAlias = AskCommit | AskTrim | AskCompact | AskSweep
"""Changes the files of a dataset."""


def perform(lake: DatasetStore, asked: DatasetOperation | FilesOperation) -> DatasetInfo | int | None:
    """Do what is asked; return and raise what the lake does."""
    match asked:
        case AskCreate():
            return lake.create(**asdict(asked))
        case AskUpdate():
            return lake.update(**asdict(asked))
        case AskDeclare():
            lake.declare(asked.name, asked.fields)
        case AskDrop():
            lake.drop(asked.name)
        case AskCommit():
            lake.commit_now(asked.name)
        case AskTrim():
            return lake.trim(asked.name, asked.older_than_ns)
        case AskCompact():
            lake.compact(asked.name)
        case AskSweep():
            return lake.sweep(asked.name)
    return None
