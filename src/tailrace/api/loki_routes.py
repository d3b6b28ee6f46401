"""What the routes of Loki's query API have in common: their parameters, and what a token needs for them."""

from collections.abc import Sequence

from tailrace.api.loki_selection import DATASET_HEADER
from tailrace.api.route import ANY_TOKEN, QUERY, ApiRoute
from tailrace.api.services import Handler
from tailrace.protocols.http import ParameterDoc

PREFIX = "/loki/api/v1"
EXAMPLE = '{dataset="demo"}'

LOGQL = ParameterDoc(
    "query", 'In LogQL, such as {dataset="web"} |= "error"; see docs/loki.md.', required=True, example=EXAMPLE
)
SELECTOR = ParameterDoc("query", "A selector of the dataset.", required=True, example=EXAMPLE)
ANY_SELECTOR = ParameterDoc("query", "A selector of the dataset.", example=EXAMPLE)
START = ParameterDoc("start", "ns or seconds since 1970, or RFC 3339; an hour before the end where it is not given.")
END = ParameterDoc("end", "The same; now where it is not given.")
DATASET = ParameterDoc(DATASET_HEADER, "The dataset of a selector that names none.", where="header")


def query_routes(path: str, handler: Handler, answer: object, parameters: Sequence[ParameterDoc]) -> list[ApiRoute]:
    """Return the routes of a path, which take parameters in the URL and as a form alike."""
    return [
        ApiRoute(
            method,
            f"{PREFIX}/{path}",
            handler,
            ANY_TOKEN,
            answer=answer,
            parameters=(*parameters, DATASET),
            refusals=(400, 403, 404, 422, 429),
            further_permission=QUERY,
        )
        for method in ("GET", "POST")
    ]
