"""Errors as Axiom's clients read them, with the place in the query where there is one."""

from typing import Any, Final

from tailrace.events import TailraceError
from tailrace.query.apl.errors import AplError

COMPILE_ERROR: Final = 1  # `errorType`: the query cannot be run as written
_COMPILE_CODES: Final = {"syntax": 1, "name": 2, "type": 16, "limit": 17}  # of the list that Axiom's document has


def error_body(error: TailraceError) -> dict[str, Any]:
    """`{"code", "message"}`, and for an error in APL a `detail` with line and column, from 1; 0 where unknown."""
    body: dict[str, Any] = {"code": error.status, "message": error.message}
    if isinstance(error, AplError):
        body["detail"] = {
            "errorType": COMPILE_ERROR,
            "compileErrorCode": _COMPILE_CODES.get(error.kind, 1),
            "line": error.place.line if error.place else 0,
            "column": error.place.column if error.place else 0,
            "message": error.plain,
        }
    return body
