"""Every route of the API, each with the capability that its token must have."""

from typing import Any

from msgspec import UNSET, Struct
from msgspec.structs import replace

from tailrace.api import (
    annotations,
    apl,
    dashboards,
    datasets,
    fields,
    health,
    history,
    keys,
    organisations,
    rbac,
    sql,
    starred,
    statistics,
    tokens,
    upkeep,
    users,
    vfields,
    views,
)
from tailrace.api.services import Handler
from tailrace.dialects.http import Parameter


class Need(Struct, frozen=True):
    """What a token must be allowed on the organisation, as in Axiom's `orgCapabilities`."""

    capability: str
    action: str


ANY_TOKEN = Need("", "")  # a valid token; the handler looks at what it may do where that depends on the request
PUBLIC = None  # no token


class ApiRoute(Struct, frozen=True):
    """A method and a path, what answers it, what a token needs for it, and what goes in and out.

    The handler's docstring is its summary. The statuses that follow from the rest need not be given: 400 and 413 of a
    body, 401 and 403 of a token, 404 of a parameter in the path.
    """

    method: str
    path: str  # a segment in braces is a parameter
    handler: Handler
    need: Need | None
    body: Any = None  # the type that the handler decodes its JSON body to; None where it takes none
    answer: Any = UNSET  # the type of its JSON answer, None for one without a body
    status: int = 200  # of a good answer; one without a body is 204
    parameters: tuple[Parameter, ...] = ()  # of the query string and the headers
    refusals: tuple[int, ...] = ()  # statuses of errors that do not follow from the rest
    media: dict[str, Any] = {}  # further answers by media type, each with its type or JSON Schema


def _under(prefixes: tuple[str, ...], *routes: ApiRoute) -> tuple[ApiRoute, ...]:
    return tuple(replace(route, path=prefix + route.path) for prefix in prefixes for route in routes)


ROUTES: tuple[ApiRoute, ...] = (
    *_under(
        ("/v1", "/api/v1"),
        # Before the routes of one dataset, whose name could be any of these.
        ApiRoute("POST", "/datasets/_apl", apl.query, ANY_TOKEN),
        ApiRoute("GET", "/datasets/_fields", statistics.all_fields, ANY_TOKEN),
        ApiRoute("POST", "/datasets/_fields", statistics.chosen_fields, ANY_TOKEN),
        ApiRoute("GET", "/datasets/_stats", statistics.stats, ANY_TOKEN),
        ApiRoute("GET", "/datasets/_history/{id}", history.saved_query, ANY_TOKEN),
        ApiRoute("POST", "/datasets/{id}/query", apl.query_dataset, ANY_TOKEN),
        ApiRoute("GET", "/datasets/{id}/info", statistics.info, ANY_TOKEN),
    ),
    ApiRoute("POST", "/v1/query/_apl", apl.query_edge, ANY_TOKEN),
    ApiRoute("POST", "/v1/query/batch", apl.query_batch, ANY_TOKEN),
    *_under(
        ("/v1", "/api/v1"),
        ApiRoute(
            "POST", "/datasets/{id}/trim", upkeep.trim_counted, ANY_TOKEN, body=upkeep.Trim, answer=upkeep.Trimmed
        ),
    ),
    ApiRoute(
        "POST", "/v2/datasets/{id}/trim", upkeep.trim, ANY_TOKEN, body=upkeep.Trim, answer=None, refusals=(409, 503)
    ),
    ApiRoute("POST", "/v2/datasets/{id}/vacuum", upkeep.vacuum, ANY_TOKEN, answer=upkeep.Vacuumed, refusals=(429, 503)),
    ApiRoute(
        "POST",
        "/v2/datasets/_apl/delete",
        upkeep.delete_matching,
        ANY_TOKEN,
        body=upkeep.DeleteBody,
        answer=upkeep.Deleted,
        refusals=(404, 409, 422, 429, 503),
    ),
    ApiRoute("GET", "/v2/datasets/{id}/fields", statistics.dataset_fields, ANY_TOKEN),
    ApiRoute("GET", "/v2/vfields", vfields.list_virtual_fields, ANY_TOKEN),
    ApiRoute("POST", "/v2/vfields", vfields.create_virtual_field, ANY_TOKEN),
    ApiRoute("GET", "/v2/vfields/{id}", vfields.get_virtual_field, ANY_TOKEN),
    ApiRoute("PUT", "/v2/vfields/{id}", vfields.update_virtual_field, ANY_TOKEN),
    ApiRoute("DELETE", "/v2/vfields/{id}", vfields.delete_virtual_field, ANY_TOKEN),
    *_under(
        ("/v1", "/v2", "/api/v1"),
        ApiRoute("GET", "/datasets", datasets.list_datasets, Need("datasets", "read")),
        ApiRoute("POST", "/datasets", datasets.create_dataset, Need("datasets", "create")),
        ApiRoute("GET", "/datasets/{id}", datasets.get_dataset, Need("datasets", "read")),
        ApiRoute("PUT", "/datasets/{id}", datasets.update_dataset, Need("datasets", "update")),
        ApiRoute("DELETE", "/datasets/{id}", datasets.delete_dataset, Need("datasets", "delete")),
    ),
    ApiRoute("GET", "/v2/datasets/{id}/fields/{field:path}", fields.get_field, ANY_TOKEN),
    ApiRoute("PUT", "/v2/datasets/{id}/fields/{field:path}", fields.update_field, Need("datasets", "update")),
    ApiRoute("GET", "/v2/datasets/{id}/mapfields", fields.list_map_fields, Need("datasets", "read")),
    ApiRoute("PUT", "/v2/datasets/{id}/mapfields", fields.replace_map_fields, Need("datasets", "update")),
    ApiRoute("POST", "/v2/datasets/{id}/mapfields", fields.create_map_field, Need("datasets", "update")),
    ApiRoute("DELETE", "/v2/datasets/{id}/mapfields/{field:path}", fields.delete_map_field, Need("datasets", "update")),
    ApiRoute("GET", "/v2/annotations", annotations.list_annotations, Need("annotations", "read")),
    ApiRoute("POST", "/v2/annotations", annotations.create_annotation, Need("annotations", "create")),
    ApiRoute("GET", "/v2/annotations/{id}", annotations.get_annotation, Need("annotations", "read")),
    ApiRoute("PUT", "/v2/annotations/{id}", annotations.update_annotation, Need("annotations", "update")),
    ApiRoute("DELETE", "/v2/annotations/{id}", annotations.delete_annotation, Need("annotations", "delete")),
    *_under(
        ("/v1", "/v2"),
        ApiRoute("GET", "/apl-starred-queries", starred.list_starred_queries, ANY_TOKEN),
        ApiRoute("POST", "/apl-starred-queries", starred.create_starred_query, ANY_TOKEN),
        ApiRoute("GET", "/apl-starred-queries/{id}", starred.get_starred_query, ANY_TOKEN),
        ApiRoute("PUT", "/apl-starred-queries/{id}", starred.update_starred_query, ANY_TOKEN),
        ApiRoute("DELETE", "/apl-starred-queries/{id}", starred.delete_starred_query, ANY_TOKEN),
    ),
    ApiRoute("GET", "/v2/views", views.list_views, Need("views", "read")),
    ApiRoute("POST", "/v2/views", views.create_view, Need("views", "create")),
    ApiRoute("GET", "/v2/views/{id}", views.get_view, Need("views", "read")),
    ApiRoute("PUT", "/v2/views/{id}", views.update_view, Need("views", "update")),
    ApiRoute("DELETE", "/v2/views/{id}", views.delete_view, Need("views", "delete")),
    ApiRoute("GET", "/v2/dashboards", dashboards.list_dashboards, Need("dashboards", "read")),
    ApiRoute("POST", "/v2/dashboards", dashboards.create_dashboard, Need("dashboards", "create")),
    ApiRoute("GET", "/v2/dashboards/uid/{uid}", dashboards.get_dashboard, Need("dashboards", "read")),
    ApiRoute("PUT", "/v2/dashboards/uid/{uid}", dashboards.update_dashboard, Need("dashboards", "update")),
    ApiRoute("DELETE", "/v2/dashboards/uid/{uid}", dashboards.delete_dashboard, Need("dashboards", "delete")),
    ApiRoute(
        "PATCH",
        "/v2/dashboards/uid/{uid}/charts/{chart}",
        dashboards.update_dashboard_chart,
        Need("dashboards", "update"),
    ),
    ApiRoute("GET", "/v2/rbac/roles", rbac.list_roles, Need("rbac", "read")),
    ApiRoute("POST", "/v2/rbac/roles", rbac.create_role, Need("rbac", "create")),
    ApiRoute("GET", "/v2/rbac/roles/{id}", rbac.get_role, Need("rbac", "read")),
    ApiRoute("PUT", "/v2/rbac/roles/{id}", rbac.update_role, Need("rbac", "update")),
    ApiRoute("DELETE", "/v2/rbac/roles/{id}", rbac.delete_role, Need("rbac", "delete")),
    ApiRoute("GET", "/v2/rbac/groups", rbac.list_groups, Need("rbac", "read")),
    ApiRoute("POST", "/v2/rbac/groups", rbac.create_group, Need("rbac", "create")),
    ApiRoute("GET", "/v2/rbac/groups/{id}", rbac.get_group, Need("rbac", "read")),
    ApiRoute("PUT", "/v2/rbac/groups/{id}", rbac.update_group, Need("rbac", "update")),
    ApiRoute("DELETE", "/v2/rbac/groups/{id}", rbac.delete_group, Need("rbac", "delete")),
    ApiRoute("GET", "/v2/tokens", tokens.list_tokens, Need("apiTokens", "read")),
    ApiRoute("POST", "/v2/tokens", tokens.create_token, Need("apiTokens", "create")),
    ApiRoute("GET", "/v2/tokens/{id}", tokens.get_token, Need("apiTokens", "read")),
    ApiRoute("PUT", "/v2/tokens/{id}", tokens.update_token, Need("apiTokens", "update")),
    ApiRoute("DELETE", "/v2/tokens/{id}", tokens.delete_token, Need("apiTokens", "delete")),
    ApiRoute("POST", "/v2/tokens/{id}/regenerate", tokens.regenerate_token, Need("apiTokens", "update")),
    *_under(
        ("/v1", "/api/v1"),
        ApiRoute("GET", "/user", users.current_user_v1, ANY_TOKEN),
        ApiRoute("GET", "/tokens/ingest", tokens.list_ingest_tokens, Need("apiTokens", "read")),
        ApiRoute("POST", "/tokens/ingest", tokens.create_ingest_token, Need("apiTokens", "create")),
        ApiRoute("GET", "/tokens/personal", tokens.list_own_tokens, ANY_TOKEN),
        ApiRoute("POST", "/tokens/personal", tokens.create_own_token, ANY_TOKEN),
        ApiRoute("DELETE", "/tokens/personal/{id}", tokens.delete_own_token, ANY_TOKEN),
    ),
    ApiRoute("GET", "/v2/user", users.current_user, ANY_TOKEN),
    ApiRoute("PUT", "/v2/user", users.update_current_user, ANY_TOKEN),
    *_under(
        ("/v1", "/v2", "/api/v1"),
        ApiRoute("GET", "/users", users.list_users, Need("users", "read")),
        ApiRoute("POST", "/users", users.create_user, Need("users", "create")),
        ApiRoute("GET", "/users/{id}", users.get_user, Need("users", "read")),
        ApiRoute("DELETE", "/users/{id}", users.delete_user, Need("users", "delete")),
        ApiRoute("PUT", "/users/{id}/role", users.set_role, Need("users", "update")),
    ),
    ApiRoute("GET", "/tailrace/v1/users/{id}/tokens", tokens.list_user_tokens, Need("users", "read")),
    ApiRoute("POST", "/tailrace/v1/users/{id}/tokens", tokens.create_user_token, Need("users", "update")),
    ApiRoute("DELETE", "/tailrace/v1/users/{id}/tokens/{token}", tokens.delete_user_token, Need("users", "update")),
    ApiRoute("GET", "/v2/orgs", organisations.list_organisations, ANY_TOKEN),
    ApiRoute("POST", "/v2/orgs", organisations.create_organisation, ANY_TOKEN),
    ApiRoute("GET", "/v2/orgs/{id}", organisations.get_organisation, ANY_TOKEN),
    ApiRoute("PUT", "/v2/orgs/{id}", organisations.update_organisation, Need("billing", "update")),
    ApiRoute("GET", "/tailrace/v1/keys", keys.list_keys, Need("apiTokens", "read")),
    ApiRoute("POST", "/tailrace/v1/keys", keys.create_key, Need("apiTokens", "create")),
    ApiRoute("GET", "/tailrace/v1/keys/{id}", keys.get_key, Need("apiTokens", "read")),
    ApiRoute("DELETE", "/tailrace/v1/keys/{id}", keys.delete_key, Need("apiTokens", "delete")),
    ApiRoute("POST", "/tailrace/v1/sql", sql.query, ANY_TOKEN),
    ApiRoute("GET", "/healthz", health.alive, PUBLIC),
    ApiRoute("GET", "/readyz", health.ready, PUBLIC),
    ApiRoute("GET", "/metrics", health.metrics, ANY_TOKEN),
)
