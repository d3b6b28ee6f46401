"""Every route of the API, each with the capability that its token must have."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct
from msgspec.structs import replace

from tailrace.access import KeyRecord, PersonalToken, TokenRecord, User
from tailrace.access.rbac import CustomRole, Group, GroupBody, RoleBody
from tailrace.api import (
    annotations,
    apl,
    dashboards,
    datasets,
    docs,
    fields,
    health,
    history,
    keys,
    monitors,
    notifiers,
    organisations,
    rbac,
    refusals,
    sql,
    starred,
    statistics,
    tail,
    tokens,
    upkeep,
    users,
    vfields,
    views,
)
from tailrace.api.field_store import VirtualField
from tailrace.api.media import PLAIN
from tailrace.api.paging import DEFAULT_LIMIT, MAX_LIMIT
from tailrace.api.saved_queries import SavedQuery
from tailrace.api.services import Handler
from tailrace.events.outcome import Refusal
from tailrace.protocols.http import ParameterDoc
from tailrace.query.answers import legacy, tabular
from tailrace.query.legacy import LegacyQuery
from tailrace.query.results import Answer


class Need(Struct, frozen=True):
    """What a token must be allowed on the organisation, as in Axiom's `orgCapabilities`."""

    capability: str
    action: str


ANY_TOKEN = Need("", "")  # a valid token; the handler looks at what it may do where that depends on the request
PUBLIC = None  # no token


class ApiRoute(Struct, frozen=True):
    """A method and a path, what answers it, what a token needs for it, and what goes in and out.

    The handler's docstring is its summary. The statuses that follow from the rest need not be given: 400, 408, 413 and
    429 of a body, 401 and 403 of a token, 404 of a parameter in the path.
    """

    method: str
    path: str  # a segment in braces is a parameter
    handler: Handler
    need: Need | None
    body: Any = None  # the type that the handler decodes its JSON body to; None where it takes none
    answer: Any = UNSET  # the type of its JSON answer, a tuple of several, None for one without a body
    status: int = 200  # of a good answer; one without a body is 204
    parameters: tuple[ParameterDoc, ...] = ()  # of the query string and the headers
    refusals: tuple[int, ...] = ()  # statuses of errors that do not follow from the rest
    media: dict[str, Any] = {}  # further answers by media type, each with its type or JSON Schema
    failures: dict[int, Any] = {}  # statuses of errors in a shape of their own, each with its type
    inside: str = ""  # what the handler itself asks of the token, where that depends on the request


def _under(prefixes: tuple[str, ...], *routes: ApiRoute) -> tuple[ApiRoute, ...]:
    return tuple(replace(route, path=prefix + route.path) for prefix in prefixes for route in routes)


QUERY = "query:read on the datasets"
TRIM = "trim:update on the dataset"
TABLES = dict.fromkeys(PLAIN, str)
FORMAT = ParameterDoc("format", "The shape of the answer; legacy where it is not given.", Literal[tuple(apl.FORMATS)])
SAVE = ParameterDoc(
    "saveAsKind", "Keeps the query; its id is in the header X-Axiom-History-Query-Id.", Literal[apl.SAVED_KINDS]
)
TOTALS = ParameterDoc("totals", "false leaves out the table _totals.")
CURSOR = ParameterDoc("cursor", "Rows after this one, where the body has none.")
STREAMING = ParameterDoc(
    "streaming-duration", f"How long to wait for events that match, as in 5s; {apl.MAX_HOLD_S:g}s at most."
)
CONCURRENCY = ParameterDoc(
    "maxConcurrency",
    f"How many run at once; {apl.DEFAULT_CONCURRENCY} where it is not given.",
    Annotated[int, Meta(ge=1, le=apl.MAX_CONCURRENCY)],
)
DATASET = ParameterDoc("dataset", "The dataset whose fields they are.", required=True)
MONITOR_IDS = ParameterDoc("monitorIds", "Ids of monitors, divided by commas.", required=True)
DATASETS = ParameterDoc("datasets", "Names of datasets, divided by commas; any where it is not given.")
START = ParameterDoc("start", "RFC 3339: those that end at this time or later.")
LIMIT = ParameterDoc(
    "limit", f"How many at most; {DEFAULT_LIMIT} where it is not given.", Annotated[int, Meta(ge=1, le=MAX_LIMIT)]
)
OFFSET = ParameterDoc("offset", "How many are passed over first.", Annotated[int, Meta(ge=0)])
WHO = ParameterDoc("who", "Whose they are: a user's id, `team` for the others', `all`; one's own where not given.")
OF_DATASET = ParameterDoc("dataset", "Those of this dataset.")
TEXT = ParameterDoc("qs", "A part of their name or of their APL.")
DASHBOARD_REFUSED = {409: dashboards.Refused, 412: dashboards.Refused}
END = ParameterDoc("end", "RFC 3339: those that begin at this time or earlier.")
START_TIME = ParameterDoc("startTime", "RFC 3339, or relative as in now-1h: what happened then or later.")
END_TIME = ParameterDoc("endTime", "RFC 3339, or relative as in now-1h: what happened then or earlier.")

ROUTES: tuple[ApiRoute, ...] = (
    *_under(
        ("/v1", "/api/v1"),
        # Before the routes of one dataset, whose name could be any of these.
        ApiRoute(
            "POST",
            "/datasets/_apl",
            apl.query,
            ANY_TOKEN,
            body=apl.AplBody,
            answer=(legacy.Answer, tabular.Answer),
            parameters=(FORMAT, SAVE, TOTALS, CURSOR),
            refusals=(404, 406, 422, 429),
            inside=QUERY,
            media=TABLES,
        ),
        ApiRoute(
            "GET",
            "/datasets/_fields",
            statistics.all_fields,
            ANY_TOKEN,
            answer=list[statistics.DatasetFields],
            inside=QUERY,
        ),
        ApiRoute(
            "POST",
            "/datasets/_fields",
            statistics.chosen_fields,
            ANY_TOKEN,
            body=statistics.FieldsBody | None,
            answer=list[statistics.DatasetFields],
            refusals=(404,),
            inside=QUERY,
        ),
        ApiRoute("GET", "/datasets/_stats", statistics.stats, ANY_TOKEN, answer=statistics.Stats, inside=QUERY),
        ApiRoute("GET", "/datasets/_history/{id}", history.saved_query, ANY_TOKEN, answer=SavedQuery),
        ApiRoute(
            "POST",
            "/datasets/{id}/query",
            apl.query_dataset,
            ANY_TOKEN,
            body=LegacyQuery,
            answer=legacy.Answer,
            parameters=(SAVE, CURSOR, STREAMING),
            refusals=(422, 429, 503),
            inside=QUERY,
        ),
        ApiRoute("GET", "/datasets/{id}/info", statistics.info, ANY_TOKEN, answer=statistics.Info, inside=QUERY),
    ),
    ApiRoute(
        "POST",
        "/v1/query/_apl",
        apl.query_edge,
        ANY_TOKEN,
        body=apl.AplBody,
        answer=(legacy.Answer, tabular.Answer),
        parameters=(FORMAT, SAVE, TOTALS, CURSOR),
        refusals=(404, 406, 422, 429),
        inside=QUERY,
        media=TABLES,
    ),
    ApiRoute(
        "POST",
        "/v1/query/batch",
        apl.query_batch,
        ANY_TOKEN,
        body=list[apl.BatchItem],
        parameters=(CONCURRENCY,),
        inside=QUERY,
        media={"text/event-stream": str},
    ),
    *_under(
        ("/v1", "/api/v1"),
        ApiRoute(
            "POST",
            "/datasets/{id}/trim",
            upkeep.trim_counted,
            ANY_TOKEN,
            body=upkeep.Trim,
            answer=upkeep.Trimmed,
            refusals=(409, 429, 503),
            inside=TRIM,
        ),
    ),
    ApiRoute(
        "POST",
        "/v2/datasets/{id}/trim",
        upkeep.trim,
        ANY_TOKEN,
        body=upkeep.Trim,
        answer=None,
        refusals=(409, 429, 503),
        inside=TRIM,
    ),
    ApiRoute(
        "POST",
        "/v2/datasets/{id}/vacuum",
        upkeep.vacuum,
        ANY_TOKEN,
        answer=upkeep.Vacuumed,
        refusals=(429, 503),
        inside="vacuum:update on the dataset",
    ),
    ApiRoute(
        "POST",
        "/v2/datasets/_apl/delete",
        upkeep.delete_matching,
        ANY_TOKEN,
        body=upkeep.DeleteBody,
        answer=upkeep.Deleted,
        inside="query:read and data:delete on the dataset",
        refusals=(404, 409, 422, 429, 503),
    ),
    ApiRoute(
        "GET",
        "/v2/datasets/{id}/fields",
        statistics.dataset_fields,
        ANY_TOKEN,
        answer=list[statistics.Field],
        inside=QUERY,
    ),
    ApiRoute(
        "GET",
        "/v2/vfields",
        vfields.list_virtual_fields,
        ANY_TOKEN,
        answer=list[VirtualField],
        parameters=(DATASET,),
        refusals=(404,),
        inside="virtualFields:read on the dataset",
    ),
    ApiRoute(
        "POST",
        "/v2/vfields",
        vfields.create_virtual_field,
        ANY_TOKEN,
        body=vfields.VirtualFieldBody,
        answer=VirtualField,
        refusals=(404, 409),
        inside="virtualFields:create on the dataset",
    ),
    ApiRoute(
        "GET",
        "/v2/vfields/{id}",
        vfields.get_virtual_field,
        ANY_TOKEN,
        answer=VirtualField,
        inside="virtualFields:read on the dataset",
    ),
    ApiRoute(
        "PUT",
        "/v2/vfields/{id}",
        vfields.update_virtual_field,
        ANY_TOKEN,
        body=vfields.VirtualFieldBody,
        answer=VirtualField,
        refusals=(409,),
        inside="virtualFields:update on the dataset",
    ),
    ApiRoute(
        "DELETE",
        "/v2/vfields/{id}",
        vfields.delete_virtual_field,
        ANY_TOKEN,
        answer=None,
        inside="virtualFields:delete on the dataset",
    ),
    *_under(
        ("/v1", "/v2", "/api/v1"),
        ApiRoute("GET", "/datasets", datasets.list_datasets, Need("datasets", "read"), answer=list[datasets.Dataset]),
        ApiRoute(
            "POST",
            "/datasets",
            datasets.create_dataset,
            Need("datasets", "create"),
            body=datasets.NewDataset,
            answer=datasets.Dataset,
            refusals=(409,),
        ),
        ApiRoute("GET", "/datasets/{id}", datasets.get_dataset, Need("datasets", "read"), answer=datasets.Dataset),
        ApiRoute(
            "PUT",
            "/datasets/{id}",
            datasets.update_dataset,
            Need("datasets", "update"),
            body=datasets.DatasetChange,
            answer=datasets.Dataset,
        ),
    ),
    *_under(
        ("/v1", "/api/v1"),
        ApiRoute(
            "DELETE", "/datasets/{id}", datasets.delete_dataset_v1, Need("datasets", "delete"), answer=datasets.Nothing
        ),
    ),
    ApiRoute("DELETE", "/v2/datasets/{id}", datasets.delete_dataset, Need("datasets", "delete"), answer=None),
    ApiRoute(
        "GET",
        "/v2/datasets/{id}/fields/{field:path}",
        fields.get_field,
        ANY_TOKEN,
        answer=statistics.Field,
        inside=QUERY,
    ),
    ApiRoute(
        "PUT",
        "/v2/datasets/{id}/fields/{field:path}",
        fields.update_field,
        Need("datasets", "update"),
        body=fields.FieldChange,
        answer=statistics.Field,
        refusals=(409,),
    ),
    ApiRoute("GET", "/v2/datasets/{id}/mapfields", fields.list_map_fields, Need("datasets", "read"), answer=list[str]),
    ApiRoute(
        "PUT",
        "/v2/datasets/{id}/mapfields",
        fields.replace_map_fields,
        Need("datasets", "update"),
        body=list[str],
        answer=list[str],
    ),
    ApiRoute(
        "POST",
        "/v2/datasets/{id}/mapfields",
        fields.create_map_field,
        Need("datasets", "update"),
        body=fields.MapField,
        answer=fields.MapField,
        refusals=(409,),
    ),
    ApiRoute(
        "DELETE",
        "/v2/datasets/{id}/mapfields/{field:path}",
        fields.delete_map_field,
        Need("datasets", "update"),
        answer=None,
    ),
    ApiRoute(
        "GET",
        "/v2/annotations",
        annotations.list_annotations,
        Need("annotations", "read"),
        answer=list[annotations.Annotation],
        parameters=(DATASETS, START, END),
    ),
    ApiRoute(
        "POST",
        "/v2/annotations",
        annotations.create_annotation,
        Need("annotations", "create"),
        body=annotations.NewAnnotation,
        answer=annotations.Annotation,
        refusals=(404,),
    ),
    ApiRoute(
        "GET",
        "/v2/annotations/{id}",
        annotations.get_annotation,
        Need("annotations", "read"),
        answer=annotations.Annotation,
    ),
    ApiRoute(
        "PUT",
        "/v2/annotations/{id}",
        annotations.update_annotation,
        Need("annotations", "update"),
        body=annotations.AnnotationChange,
        answer=annotations.Annotation,
    ),
    ApiRoute(
        "DELETE", "/v2/annotations/{id}", annotations.delete_annotation, Need("annotations", "delete"), answer=None
    ),
    *_under(
        ("/v1", "/v2"),
        ApiRoute(
            "GET",
            "/apl-starred-queries",
            starred.list_starred_queries,
            ANY_TOKEN,
            answer=list[starred.StarredQuery],
            parameters=(WHO, OF_DATASET, TEXT, LIMIT, OFFSET),
            inside="starredQueries:read on the dataset",
        ),
        ApiRoute(
            "POST",
            "/apl-starred-queries",
            starred.create_starred_query,
            ANY_TOKEN,
            body=starred.StarredQueryBody,
            answer=starred.StarredQuery,
            inside="starredQueries:create on the dataset",
        ),
        ApiRoute(
            "GET",
            "/apl-starred-queries/{id}",
            starred.get_starred_query,
            ANY_TOKEN,
            answer=starred.StarredQuery,
            inside="starredQueries:read on the dataset",
        ),
        ApiRoute(
            "PUT",
            "/apl-starred-queries/{id}",
            starred.update_starred_query,
            ANY_TOKEN,
            body=starred.StarredQueryBody,
            answer=starred.StarredQuery,
            inside="starredQueries:update on the dataset",
        ),
        ApiRoute(
            "DELETE",
            "/apl-starred-queries/{id}",
            starred.delete_starred_query,
            ANY_TOKEN,
            answer=None,
            inside="starredQueries:delete on the dataset",
        ),
    ),
    ApiRoute("GET", "/v2/views", views.list_views, Need("views", "read"), answer=list[views.View]),
    ApiRoute(
        "POST",
        "/v2/views",
        views.create_view,
        Need("views", "create"),
        body=views.ViewBody,
        answer=views.View,
        refusals=(409,),
    ),
    ApiRoute("GET", "/v2/views/{id}", views.get_view, Need("views", "read"), answer=views.View),
    ApiRoute(
        "PUT",
        "/v2/views/{id}",
        views.update_view,
        Need("views", "update"),
        body=views.ViewBody,
        answer=views.View,
        refusals=(409,),
    ),
    ApiRoute("DELETE", "/v2/views/{id}", views.delete_view, Need("views", "delete"), answer=None),
    ApiRoute(
        "GET",
        "/v2/dashboards",
        dashboards.list_dashboards,
        Need("dashboards", "read"),
        answer=list[dashboards.Dashboard],
        parameters=(LIMIT, OFFSET),
    ),
    ApiRoute(
        "POST",
        "/v2/dashboards",
        dashboards.create_dashboard,
        Need("dashboards", "create"),
        body=dashboards.DashboardWrite,
        answer=dashboards.Written,
        status=201,
        failures=DASHBOARD_REFUSED,
    ),
    ApiRoute(
        "GET",
        "/v2/dashboards/uid/{uid}",
        dashboards.get_dashboard,
        Need("dashboards", "read"),
        answer=dashboards.Dashboard,
    ),
    ApiRoute(
        "PUT",
        "/v2/dashboards/uid/{uid}",
        dashboards.update_dashboard,
        Need("dashboards", "update"),
        body=dashboards.DashboardWrite,
        answer=dashboards.Written,
        failures=DASHBOARD_REFUSED,
    ),
    ApiRoute(
        "DELETE", "/v2/dashboards/uid/{uid}", dashboards.delete_dashboard, Need("dashboards", "delete"), answer=None
    ),
    ApiRoute(
        "PATCH",
        "/v2/dashboards/uid/{uid}/charts/{chart}",
        dashboards.update_dashboard_chart,
        Need("dashboards", "update"),
        body=dashboards.ChartPatch,
        answer=dashboards.Written,
        failures=DASHBOARD_REFUSED,
    ),
    ApiRoute("GET", "/v2/rbac/roles", rbac.list_roles, Need("rbac", "read"), answer=list[CustomRole]),
    ApiRoute(
        "POST",
        "/v2/rbac/roles",
        rbac.create_role,
        Need("rbac", "create"),
        body=RoleBody,
        answer=CustomRole,
        refusals=(404, 409),
    ),
    ApiRoute("GET", "/v2/rbac/roles/{id}", rbac.get_role, Need("rbac", "read"), answer=CustomRole),
    ApiRoute(
        "PUT",
        "/v2/rbac/roles/{id}",
        rbac.update_role,
        Need("rbac", "update"),
        body=RoleBody,
        answer=CustomRole,
        refusals=(409,),
    ),
    ApiRoute("DELETE", "/v2/rbac/roles/{id}", rbac.delete_role, Need("rbac", "delete"), answer=None, refusals=(409,)),
    ApiRoute("GET", "/v2/rbac/groups", rbac.list_groups, Need("rbac", "read"), answer=list[Group]),
    ApiRoute(
        "POST",
        "/v2/rbac/groups",
        rbac.create_group,
        Need("rbac", "create"),
        body=GroupBody,
        answer=Group,
        refusals=(409,),
    ),
    ApiRoute("GET", "/v2/rbac/groups/{id}", rbac.get_group, Need("rbac", "read"), answer=Group),
    ApiRoute(
        "PUT",
        "/v2/rbac/groups/{id}",
        rbac.update_group,
        Need("rbac", "update"),
        body=GroupBody,
        answer=Group,
        refusals=(409,),
    ),
    ApiRoute("DELETE", "/v2/rbac/groups/{id}", rbac.delete_group, Need("rbac", "delete"), answer=None, refusals=(409,)),
    ApiRoute(
        "GET",
        "/v2/notifiers",
        notifiers.list_notifiers,
        Need("notifiers", "read"),
        answer=list[notifiers.ShownNotifier],
    ),
    ApiRoute(
        "POST",
        "/v2/notifiers",
        notifiers.create_notifier,
        Need("notifiers", "create"),
        body=notifiers.NotifierBody,
        answer=notifiers.ShownNotifier,
    ),
    ApiRoute(
        "GET", "/v2/notifiers/{id}", notifiers.get_notifier, Need("notifiers", "read"), answer=notifiers.ShownNotifier
    ),
    ApiRoute(
        "PUT",
        "/v2/notifiers/{id}",
        notifiers.update_notifier,
        Need("notifiers", "update"),
        body=notifiers.NotifierBody,
        answer=notifiers.ShownNotifier,
    ),
    ApiRoute("DELETE", "/v2/notifiers/{id}", notifiers.delete_notifier, Need("notifiers", "delete"), answer=None),
    ApiRoute(
        "GET", "/v2/monitors", monitors.list_monitors, Need("monitors", "read"), answer=list[monitors.ShownMonitor]
    ),
    ApiRoute(
        "POST",
        "/v2/monitors",
        monitors.create_monitor,
        Need("monitors", "create"),
        body=monitors.MonitorBody,
        answer=monitors.ShownMonitor,
        refusals=(403,),
        inside=QUERY,
    ),
    ApiRoute("GET", "/v2/monitors/{id}", monitors.get_monitor, Need("monitors", "read"), answer=monitors.ShownMonitor),
    ApiRoute(
        "PUT",
        "/v2/monitors/{id}",
        monitors.update_monitor,
        Need("monitors", "update"),
        body=monitors.MonitorBody,
        answer=monitors.ShownMonitor,
        refusals=(403,),
        inside=QUERY,
    ),
    ApiRoute("DELETE", "/v2/monitors/{id}", monitors.delete_monitor, Need("monitors", "delete"), answer=None),
    ApiRoute(
        "GET",
        "/v2/monitors/{id}/history",
        monitors.get_history,
        Need("monitors", "read"),
        answer=list[monitors.AlertHistory],
        parameters=(START_TIME, END_TIME),
    ),
    # Of Axiom's console; its MCP server reads them too.
    ApiRoute(
        "GET",
        "/api/internal/monitors/history",
        monitors.get_histories,
        Need("monitors", "read"),
        answer=monitors.RunHistory,
        parameters=(MONITOR_IDS,),
        refusals=(404,),
    ),
    ApiRoute(
        "GET",
        "/api/internal/integrations/dashboards",
        dashboards.list_integrations,
        Need("dashboards", "read"),
        answer=list[dashboards.IntegrationDashboard],
    ),
    ApiRoute(
        "GET",
        "/tailrace/v1/monitors/{id}",
        monitors.get_standing,
        Need("monitors", "read"),
        answer=monitors.Standing,
        parameters=(START_TIME, END_TIME),
    ),
    ApiRoute("GET", "/v2/tokens", tokens.list_tokens, Need("apiTokens", "read"), answer=list[TokenRecord]),
    ApiRoute(
        "POST",
        "/v2/tokens",
        tokens.create_token,
        Need("apiTokens", "create"),
        body=tokens.NewToken,
        answer=tokens.MadeToken,
    ),
    ApiRoute("GET", "/v2/tokens/{id}", tokens.get_token, Need("apiTokens", "read"), answer=TokenRecord),
    ApiRoute(
        "PUT",
        "/v2/tokens/{id}",
        tokens.update_token,
        Need("apiTokens", "update"),
        body=tokens.TokenChange,
        answer=TokenRecord,
    ),
    ApiRoute("DELETE", "/v2/tokens/{id}", tokens.delete_token, Need("apiTokens", "delete"), answer=None),
    ApiRoute(
        "POST",
        "/v2/tokens/{id}/regenerate",
        tokens.regenerate_token,
        Need("apiTokens", "update"),
        body=tokens.Regeneration,
        answer=tokens.MadeToken,
    ),
    *_under(
        ("/v1", "/api/v1"),
        ApiRoute("GET", "/user", users.current_user_v1, ANY_TOKEN, answer=users.CurrentUserV1),
        ApiRoute(
            "GET",
            "/tokens/ingest",
            tokens.list_ingest_tokens,
            Need("apiTokens", "read"),
            answer=list[tokens.IngestToken],
        ),
        ApiRoute(
            "POST",
            "/tokens/ingest",
            tokens.create_ingest_token,
            Need("apiTokens", "create"),
            body=tokens.NewIngestToken,
            answer=tokens.IngestToken,
        ),
        ApiRoute(
            "GET",
            "/tokens/personal",
            tokens.list_own_tokens,
            ANY_TOKEN,
            answer=list[PersonalToken],
            inside="a personal token",
        ),
        ApiRoute(
            "POST",
            "/tokens/personal",
            tokens.create_own_token,
            ANY_TOKEN,
            body=tokens.NewPersonalToken,
            answer=tokens.MadePersonalToken,
            inside="a personal token",
        ),
        ApiRoute(
            "DELETE",
            "/tokens/personal/{id}",
            tokens.delete_own_token,
            ANY_TOKEN,
            answer=None,
            inside="a personal token",
        ),
    ),
    ApiRoute("GET", "/v2/user", users.current_user, ANY_TOKEN, answer=User),
    ApiRoute(
        "PUT",
        "/v2/user",
        users.update_current_user,
        ANY_TOKEN,
        body=users.UserChange,
        answer=User,
        refusals=(409,),
        inside="a personal token",
    ),
    *_under(
        ("/v1", "/v2", "/api/v1"),
        ApiRoute("GET", "/users", users.list_users, Need("users", "read"), answer=list[User]),
        ApiRoute(
            "POST",
            "/users",
            users.create_user,
            Need("users", "create"),
            body=users.NewUser,
            answer=User,
            refusals=(409,),
        ),
        ApiRoute("GET", "/users/{id}", users.get_user, Need("users", "read"), answer=User),
        ApiRoute("PUT", "/users/{id}", users.update_user, Need("users", "update"), body=users.UserName, answer=User),
        ApiRoute("DELETE", "/users/{id}", users.delete_user, Need("users", "delete"), answer=None, refusals=(409,)),
        ApiRoute(
            "PUT",
            "/users/{id}/role",
            users.set_role,
            Need("users", "update"),
            body=users.RoleChange,
            answer=User,
            refusals=(409,),
        ),
    ),
    ApiRoute(
        "GET",
        "/tailrace/v1/users/{id}/tokens",
        tokens.list_user_tokens,
        Need("users", "read"),
        answer=list[PersonalToken],
    ),
    ApiRoute(
        "POST",
        "/tailrace/v1/users/{id}/tokens",
        tokens.create_user_token,
        Need("users", "update"),
        body=tokens.NewPersonalToken,
        answer=tokens.MadePersonalToken,
    ),
    ApiRoute(
        "DELETE",
        "/tailrace/v1/users/{id}/tokens/{token}",
        tokens.delete_user_token,
        Need("users", "update"),
        answer=None,
    ),
    ApiRoute("GET", "/v2/orgs", organisations.list_organisations, ANY_TOKEN, answer=list[organisations.Org]),
    ApiRoute(
        "POST",
        "/v2/orgs",
        organisations.create_organisation,
        ANY_TOKEN,
        body=organisations.OrgName,
        answer=organisations.Org,
        refusals=(409,),
        inside="an owner of the first organisation",
    ),
    ApiRoute("GET", "/v2/orgs/{id}", organisations.get_organisation, ANY_TOKEN, answer=organisations.Org),
    ApiRoute(
        "PUT",
        "/v2/orgs/{id}",
        organisations.update_organisation,
        Need("billing", "update"),
        body=organisations.OrgName,
        answer=organisations.Org,
    ),
    ApiRoute("GET", "/tailrace/v1/keys", keys.list_keys, Need("apiTokens", "read"), answer=list[KeyRecord]),
    ApiRoute(
        "POST",
        "/tailrace/v1/keys",
        keys.create_key,
        Need("apiTokens", "create"),
        body=keys.NewKey,
        answer=keys.MadeKey,
        status=201,
        refusals=(404, 409),
    ),
    ApiRoute("GET", "/tailrace/v1/keys/{id}", keys.get_key, Need("apiTokens", "read"), answer=KeyRecord),
    ApiRoute("DELETE", "/tailrace/v1/keys/{id}", keys.delete_key, Need("apiTokens", "delete"), answer=None),
    ApiRoute(
        "POST",
        "/tailrace/v1/sql",
        sql.query,
        ANY_TOKEN,
        body=sql.Sql,
        answer=Answer,
        refusals=(404, 406, 422, 429),
        inside=QUERY,
        media=TABLES,
    ),
    ApiRoute(
        "GET",
        "/tailrace/v1/tail/{dataset}",
        tail.tail,
        ANY_TOKEN,
        parameters=(tail.WHERE,),
        refusals=(400, 429, 503),
        inside=QUERY,
        media={"text/event-stream": str},
    ),
    ApiRoute("GET", "/openapi.json", docs.openapi, PUBLIC, answer=dict[str, Any]),
    ApiRoute("GET", "/docs", docs.page_of_routes, PUBLIC, media={"text/html": str}),
    ApiRoute("GET", "/healthz", health.alive, PUBLIC, answer=health.Health),
    ApiRoute("GET", "/readyz", health.ready, PUBLIC, answer=health.Readiness, failures={503: health.Unready}),
    ApiRoute("GET", "/metrics", health.metrics, Need("server", "read"), media={"text/plain": str}),
    ApiRoute(
        "GET",
        "/tailrace/v1/refusals",
        refusals.list_refusals,
        Need("server", "read"),
        answer=list[Refusal],
        parameters=(LIMIT, OFFSET),
    ),
)
