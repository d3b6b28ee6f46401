"""The error tree: each class has a status, a code and whether sending the same again can help."""


class TailraceError(Exception):
    """An error that is the answer to a client; the protocol decides in which shape."""

    status = 500
    code = "internal_error"
    retryable = False

    def __init__(self, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s


class BadRequest(TailraceError):
    status = 400
    code = "bad_request"


class InvalidName(BadRequest):
    code = "invalid_name"


class QueryInvalid(BadRequest):
    """The query cannot be run as written."""

    code = "query_invalid"


class QueryMissing(TailraceError):
    """There is no query; by the status Grafana's data source knows that its token is good."""

    status = 422
    code = "query_missing"


class Unauthorized(TailraceError):
    status = 401
    code = "unauthorized"


class Forbidden(TailraceError):
    status = 403
    code = "forbidden"


class NotFound(TailraceError):
    status = 404
    code = "not_found"


class DatasetNotFound(NotFound):
    code = "dataset_not_found"


class DatasetUnavailable(TailraceError):
    """The dataset is there but its files cannot be used; the log keeps its events meanwhile."""

    status = 503
    code = "dataset_unavailable"
    retryable = True


class AccessUnavailable(TailraceError):
    """Who is asking cannot be found out, as the database of users and tokens does not answer."""

    status = 503
    code = "access_unavailable"
    retryable = True


class MethodNotAllowed(TailraceError):
    status = 405
    code = "method_not_allowed"


class NotAcceptable(TailraceError):
    """None of the media types that the client accepts is one that the answer can have."""

    status = 406
    code = "not_acceptable"


class Conflict(TailraceError):
    status = 409
    code = "conflict"


class DatasetExists(Conflict):
    code = "dataset_exists"


class BodyTimeout(TailraceError):
    """The request's body did not come in time; nothing of it was taken."""

    status = 408
    code = "body_timeout"


class TooLarge(TailraceError):
    status = 413
    code = "too_large"


class UnsupportedMediaType(TailraceError):
    status = 415
    code = "unsupported_media_type"


class UnsupportedEncoding(UnsupportedMediaType):
    code = "unsupported_encoding"


class Overloaded(TailraceError):
    """More is coming in than can be shredded; the client should come back later."""

    status = 429
    code = "overloaded"
    retryable = True


class QueryFailed(TailraceError):
    """The query was sound but met a limit or broke off; the message names the limit."""

    status = 422
    code = "query_failed"


class QueryProcessEnded(TailraceError):
    """Something outside of the server ended the process that a query ran in; the query is not at fault."""

    status = 503
    code = "query_process_ended"
    retryable = True


class DiskFull(TailraceError):
    """The disk has too little free space; nothing of what was sent is stored."""

    status = 503
    code = "disk_full"
    retryable = True


class StorageUnavailable(TailraceError):
    """A disk or a database cannot be read or written now."""

    status = 503
    code = "storage_unavailable"
    retryable = True


class ShuttingDown(TailraceError):
    status = 503
    code = "shutting_down"
    retryable = True
