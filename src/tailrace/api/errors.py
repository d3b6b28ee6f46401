"""Errors as Axiom's clients read them, with the position of an error in APL."""

from msgspec import UNSET, Struct, UnsetType

from tailrace.events import TailraceError
from tailrace.query.apl.errors import AplError

COMPILE_ERROR = 1  # `errorType` of a query that does not compile
_COMPILE_CODES = {"syntax": 1, "name": 2, "type": 16, "limit": 17}  # of the list that Axiom's document has


class ErrorDetail(Struct, frozen=True, rename="camel"):
    """The position of an error in a query: line and column from 1, 0 where unknown."""

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
    """Return the body of an error, with the position of one in APL."""
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
