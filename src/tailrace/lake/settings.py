"""The settings of the lake: when it commits, what earns a column, and how its tables are maintained."""

from typing import Annotated

from msgspec import Meta, Struct, field

from tailrace.events.sizes import GIB, MIB

MAX_CLUSTER_COLUMNS = 3


class MaintenanceSettings(Struct, frozen=True):
    """Settings of compaction, verification and the removal of old files."""

    compact_files: Annotated[
        int,
        Meta(
            ge=0,
            le=10_000,
            description="Files of one day and of about the same size that are made one; 0 turns compaction off.",
            extra={"unit": "files"},
        ),
    ] = 16
    compact_bytes: Annotated[
        int,
        Meta(
            ge=64 * 1024,
            le=16 * GIB,
            description="Size of a file that compaction leaves as it is; it makes none larger.",
        ),
    ] = 128 * MIB
    cluster_columns: Annotated[
        int,
        Meta(
            ge=0,
            le=MAX_CLUSTER_COLUMNS,
            description="Most fields of few values by which the rows of a file are ordered, before their time; "
            "0 for none.",
            extra={"unit": "fields"},
        ),
    ] = MAX_CLUSTER_COLUMNS
    cluster_by: Annotated[
        tuple[str, ...],
        Meta(
            description="Fields by which they are ordered in the datasets that have one of them; in others, those that "
            "are chosen by their values."
        ),
    ] = ()
    verify_bytes_per_s: Annotated[
        int,
        Meta(
            ge=0,
            description="Bytes of tables' files read a second to see whether they are as they were written; 0 for "
            "none.",
        ),
    ] = MIB
    compact_bytes_per_s: Annotated[
        int, Meta(ge=64 * 1024, description="Most bytes a second that compaction writes.")
    ] = 32 * MIB
    every_s: Annotated[
        float,
        Meta(
            gt=0,
            le=86400,
            description="Time between two rounds of compaction, retention and removal of old files.",
        ),
    ] = field(default=60.0, name="maintenance_every_s")
    keep_removed_s: Annotated[
        float,
        Meta(
            ge=0,
            le=365 * 86_400,
            description="Time that a file stays on disk once it is no part of its table, for engines that read the "
            "table as it was; at least 4 times `query_timeout_s`.",
        ),
    ] = 3600.0


class LakeSettings(Struct, frozen=True):
    """Settings of all datasets together."""

    commit_bytes: Annotated[
        int,
        Meta(
            ge=64 * 1024,
            le=16 * GIB,
            description="Events not yet in a table that start a commit of their dataset.",
        ),
    ] = 32 * MIB  # of raw events in memory
    commit_age_s: Annotated[
        float,
        Meta(gt=0, le=86400, description="Age of the oldest event not yet in a table that starts a commit."),
    ] = 30.0
    shred_backlog_bytes: Annotated[
        int,
        Meta(
            ge=MIB,
            description="Most acknowledged bytes waiting to become columns; beyond, ingest is refused with 429.",
        ),
    ] = 256 * MIB
    max_uncommitted_bytes: Annotated[
        int,
        Meta(
            ge=MIB,
            le=1024 * GIB,
            description="Most bytes of events, of all datasets, that are durable but in no table yet; beyond, or with "
            "a quarter of it in no columns yet, answers to ingest wait. Commits start at half of it, or at three "
            "quarters where no dataset has much.",
        ),
    ] = 64 * MIB
    uncommitted_wait_s: Annotated[
        float,
        Meta(
            ge=0,
            le=60,
            description="Longest time that an answer waits for less than `max_uncommitted_bytes`, its events being "
            "stored; 0 for no wait.",
        ),
    ] = 5.0
    columns_per_dataset: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000,
            description="Most columns of one table; further fields are kept together in `_rest`.",
            extra={"unit": "columns"},
        ),
    ] = 256
    column_density: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="Share of recent events that must have a field for it to earn a column.",
            extra={"unit": "share, 0 to 1"},
        ),
    ] = 0.01
    max_datasets: Annotated[int, Meta(ge=1, description="Most datasets.", extra={"unit": "datasets"})] = 10_000
    maintenance: Annotated[MaintenanceSettings, Meta(extra={"prefix": ""})] = MaintenanceSettings()

    @property
    def max_waiting_bytes(self) -> int:
        """Bytes waiting to become columns beyond which answers wait."""
        return self.max_uncommitted_bytes // 4

    @property
    def relief_bytes(self) -> int:
        """Least bytes in memory, of all datasets, at which the one with most of them is committed."""
        return self.max_uncommitted_bytes // 2

    def needs_relief(self, hot_bytes: int, largest_bytes: int) -> bool:
        """Return whether the dataset with most in memory is to be committed, given that and what all have together.

        While it is written as much may come as it has, or at least what may wait: where many datasets have little each,
        commits start later than at `relief_bytes` and are larger.
        """
        return hot_bytes + max(largest_bytes, self.max_waiting_bytes) >= self.max_uncommitted_bytes
