"""Errors as Axiom's clients read them, with the place in the query where there is one."""

from msgspec import UNSET, Struct, UnsetType

from tailrace.events import TailraceError
from tailrace.query.apl.errors import AplError

COMPILE_ERROR = 1  # `errorType`: the query cannot be run as written
_COMPILE_CODES = {"syntax": 1, "name": 2, "type": 16, "limit": 17}  # of the list that Axiom's document has


class ErrorDetail(Struct, frozen=True, rename="camel"):
    """Where in its text a query is wrong: line and column from 1, 0 where unknown."""

    error_type: int
    compile_error_code: int
    line: int
    column: int
    message: str


class Error(Struct, frozen=True):
    """The body of every error; `code` is the status."""

    code: int
    message: str
    detail: ErrorDetail | UnsetType = UNSET  # of an error in APL


def error_body(error: TailraceError) -> Error:
    """Return the error as it is answered, and for an error in APL where it is."""
    if not isinstance(error, AplError):
        return Error(error.status, error.message)
    detail = ErrorDetail(
        error_type=COMPILE_ERROR,
        compile_error_code=_COMPILE_CODES.get(error.kind, 1),
        line=error.place.line if error.place else 0,
        column=error.place.column if error.place else 0,
        message=error.plain,
    )
    return Error(error.status, error.message, detail)
