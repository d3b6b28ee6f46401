"""SQL over HTTP: one SELECT over the datasets that the token may query, or what there is to be read; in the format
asked for.
"""

from collections.abc import Iterator
from functools import partial
from typing import Annotated

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant, Usage, require_own, require_query
from tailrace.api import apl, execution
from tailrace.api.media import FORMATS, JSON, TABLES, accepted, answered, begun
from tailrace.api.route import ANY_TOKEN, QUERY, ApiRoute
from tailrace.api.services import Services, read_json
from tailrace.api.views import view_names
from tailrace.query import AplRequest, Interrupt, run_sql
from tailrace.query.results import Answer


class Sql(Struct, rename="camel"):
    """The body of a query."""

    sql: str
    schema_only: bool = False  # the columns of the answer, without rows
    max_rows: Annotated[int, Meta(ge=1)] | None = None  # of the answer, which has the first so many


async def query(request: Request, services: Services, grant: Grant) -> Response:
    """Answer one SELECT, SHOW TABLES, DESCRIBE or EXPLAIN, which stops when its client hangs up."""
    body = await read_json(request, Sql)
    media_type = accepted(request.headers.get("accept", JSON))

    check = partial(require_query, grant)

    def work(interrupt: Interrupt) -> bytes | Iterator[bytes]:
        result = run_sql(
            services.lake,
            services.engine,
            body.sql,
            check=check,
            views=apl.with_definitions(AplRequest(apl=""), services, grant),
            view_names=partial(view_names, services.documents, grant),
            check_organisation=partial(require_own, grant),
            interrupt=interrupt,
            schema_only=body.schema_only,
            most_rows=body.max_rows,
        )
        services.access.budgets.spend(grant, Usage(rows=result.table.num_rows))
        return begun(FORMATS[media_type](result))

    content = await execution.run(request, services, grant, work)
    return answered(execution.counted(services, grant, content), {"content-type": media_type})


ROUTES = (
    ApiRoute(
        "POST",
        "/tailrace/v1/sql",
        query,
        ANY_TOKEN,
        body=Sql,
        example={"sql": "SELECT level, count(*) AS n FROM demo GROUP BY ALL ORDER BY n DESC"},
        answer=Answer,
        refusals=(404, 406, 422, 429),
        further_permission=QUERY,
        media=TABLES,
    ),
)
