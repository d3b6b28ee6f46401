"""Axiom's answers as its own programs read them: what they require, with the types that they require it of.

Structs for its Go programs take null and a member that is missing for nothing; those for its MCP server, which checks
each answer, refuse null wherever a member may only be missing.
"""

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

# Grafana's data source, in Go


class GoStatus(Struct, rename="camel"):
    elapsed_time: int = 0  # of which none may have a fraction
    blocks_examined: int = 0
    blocks_cached: int = 0
    blocks_matched: int = 0
    blocks_skipped: int = 0
    rows_examined: int = 0
    rows_matched: int = 0
    num_groups: int = 0
    is_partial: bool = False
    cache_status: int = 0
    min_block_time: str | None = None
    max_block_time: str | None = None
    messages: list[dict[str, Any]] | None = None


class GoField(Struct):
    name: str
    type: str
    agg: dict[str, Any] | None = None


class GoTable(Struct):
    name: str
    fields: list[GoField]
    columns: list[list[Any]]


class GoFieldNote(Struct):
    name: str
    type: str = ""
    unit: str = ""
    hidden: bool = False
    description: str = ""


class GoDatasetFields(Struct, rename="camel"):
    dataset_name: str
    fields: list[GoFieldNote]


class GoAnswer(Struct, rename="camel"):
    format: str
    status: GoStatus | None
    tables: list[GoTable]
    dataset_names: list[str] | None = None
    fields_meta_map: dict[str, list[GoFieldNote]] | None = None


# Axiom's MCP server


class Named(Struct):
    name: str


class CheckedField(Struct):
    name: str
    type: str
    agg: Named | UnsetType = UNSET
    description: str | UnsetType = UNSET


class CheckedOrder(Struct):
    field: str
    desc: bool


class CheckedRange(Struct):
    field: str
    start: str
    end: str


class CheckedBuckets(Struct):
    field: str
    size: float


class CheckedTable(Struct):
    name: str
    sources: list[Named]
    fields: list[CheckedField]
    order: list[CheckedOrder]
    groups: list[Named]
    columns: list[list[Any]]
    range: CheckedRange | UnsetType = UNSET
    buckets: CheckedBuckets | UnsetType = UNSET


class CheckedStatus(Struct, rename="camel"):
    elapsed_time: float
    blocks_examined: float
    rows_examined: float
    rows_matched: float


class CheckedAnswer(Struct, rename="camel"):
    format: str
    status: CheckedStatus
    tables: list[CheckedTable]
    dataset_names: list[str]


class CheckedDataset(Struct):
    name: str
    description: str
    kind: str | UnsetType = UNSET
    region: str | UnsetType = UNSET


class CheckedMonitor(Struct, rename="camel"):
    id: str
    name: str
    type: Literal["MatchEvent", "Threshold", "AnomalyDetection"]
    apl_query: str
    created_at: str
    interval_minutes: float
    range_minutes: float
    threshold: float
    operator: Literal["Below", "BelowOrEqual", "Above", "AboveOrEqual", "AboveOrBelow"] | UnsetType = UNSET
    description: str | UnsetType = UNSET
    alert_on_no_data: bool | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET
    disabled_until: str | UnsetType = UNSET


class CheckedHistory(Struct):
    data: dict[str, list[list[Any]]]
    fields: list[str]


class CheckedIntegration(Struct):
    id: str
    owner: str


class CheckedSavedApl(Struct, rename="camel"):
    apl: str
    query_options: dict[str, Any]
    start_time: str | UnsetType = UNSET
    end_time: str | UnsetType = UNSET


class CheckedSavedQuery(Struct):
    id: str
    name: str
    dataset: str
    kind: str
    metadata: dict[str, Any]
    query: CheckedSavedApl
    who: str


class CheckedListedDashboard(Struct, rename="camel"):
    id: str
    name: str
    owner: str
    refresh_time: float
    schema_version: float
    time_window_start: str
    time_window_end: str
    version: str
    created_at: str
    updated_at: str
    description: str | UnsetType = UNSET
    created_by: str | UnsetType = UNSET
    updated_by: str | UnsetType = UNSET
    datasets: list[str] | UnsetType = UNSET


class CheckedDashboard(Struct, rename="camel"):
    uid: str
    id: str
    version: float
    dashboard: dict[str, Any]
    created_at: str
    updated_at: str
    created_by: str
    updated_by: str


class CheckedDashboardWrite(Struct):
    status: Literal["created", "updated"]
    dashboard: CheckedDashboard
    overwritten: bool | UnsetType = UNSET
