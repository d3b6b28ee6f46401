"""A body for each route of the API that takes one, by its type, as the API's document shows it."""

from typing import Any, Final

from tailrace.access.rbac import GroupBody, RoleBody
from tailrace.api import (
    annotations,
    apl,
    dashboards,
    datasets,
    fields,
    keys,
    monitors,
    notifiers,
    organisations,
    sql,
    starred,
    statistics,
    tokens,
    upkeep,
    users,
    vfields,
    views,
)
from tailrace.protocols.registry import PROTOCOLS
from tailrace.query.legacy import LegacyQuery

_QUERY: Final = {
    "apl": "demo | summarize count() by bin(_time, 1h), level",
    "startTime": "now-1d",
    "endTime": "now",
}

_CHART: Final = {"id": "errors", "name": "Errors", "type": "TimeSeries", "query": {"apl": "demo | count"}}

_OF_ONE_DATASET = next(each.name for each in PROTOCOLS if each.key and each.key.scope == "dataset")

EXAMPLES: Final[dict[Any, Any]] = {
    annotations.AnnotationChange: {"title": "Version 1.4 is out"},
    annotations.NewAnnotation: {
        "type": "deployment",
        "datasets": ["demo"],
        "time": "2026-01-02T03:04:05Z",
        "title": "Version 1.4",
    },
    apl.AplBody: _QUERY,
    list[apl.BatchItem]: [{"queryId": "by-level", "aplRequest": _QUERY}],
    dashboards.ChartPatch: {"chart": {"name": "Errors an hour"}, "version": 1},
    dashboards.DashboardWrite: {
        "dashboard": {
            "name": "Shop",
            "owner": "X-AXIOM-EVERYONE",
            "charts": [_CHART],
            "layout": [],
            "refreshTime": 60,
            "schemaVersion": 2,
            "timeWindowStart": "qr-now-1h",
            "timeWindowEnd": "qr-now",
        },
    },
    datasets.DatasetChange: {"description": "What the shop logs", "retentionDays": 30},
    datasets.NewDataset: {"name": "shop", "description": "What the shop logs"},
    fields.FieldChange: {"unit": "ms", "description": "How long the answer took"},
    fields.MapField: {"name": "attributes"},
    list[str]: ["attributes"],
    keys.NewKey: {"protocol": _OF_ONE_DATASET, "name": "shop", "dataset": "shop-api"},
    LegacyQuery: {
        "startTime": "now-1d",
        "endTime": "now",
        "resolution": "1h",
        "aggregations": [{"op": "count", "field": "*"}],
        "groupBy": ["level"],
    },
    monitors.MonitorBody: {
        "name": "Errors",
        "type": "Threshold",
        "aplQuery": "demo | where level == 'error' | summarize count()",
        "operator": "Above",
        "threshold": 10,
        "intervalMinutes": 1,
        "rangeMinutes": 5,
    },
    notifiers.NotifierBody: {"name": "Hook", "properties": {"webhook": {"url": "https://example.com/alerts"}}},
    organisations.OrgName: {"name": "Shop"},
    GroupBody: {"name": "On call", "members": [], "roles": []},
    RoleBody: {"name": "Reader of the shop", "datasetCapabilities": {"demo": {"query": ["read"]}}},
    sql.Sql: {"sql": "SELECT level, count(*) AS n FROM demo GROUP BY ALL ORDER BY n DESC"},
    starred.StarredQueryBody: {"name": "Errors", "query": {"apl": "demo | where level == 'error'"}},
    statistics.FieldsBody | None: {"datasets": ["demo"]},
    tokens.NewIngestToken: {"name": "shop", "scopes": ["demo"]},
    tokens.NewPersonalToken: {"name": "laptop"},
    tokens.NewToken: {"name": "shop", "datasetCapabilities": {"demo": {"ingest": ["create"], "query": ["read"]}}},
    tokens.Regeneration: {"existingTokenExpiresAt": "2100-01-02T00:00:00Z", "newTokenExpiresAt": None},
    tokens.TokenChange: {"description": "Of the shop"},
    upkeep.DeleteBody: {"apl": "demo | where level == 'debug'", "endTime": "now-7d", "commit": False},
    upkeep.Trim: {"maxDuration": "720h"},
    users.NewUser: {"name": "Ada", "email": "ada@example.com", "role": "user"},
    users.RoleChange: {"role": "read-only"},
    users.UserChange: {"name": "Ada"},
    users.UserName: {"name": "Ada"},
    vfields.VirtualFieldBody: {"dataset": "demo", "name": "is_error", "expression": "level == 'error'"},
    views.ViewBody: {"name": "errors", "aplQuery": "demo | where level == 'error'", "datasets": ["demo"]},
}
