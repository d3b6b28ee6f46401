"""Bodies and answers of Elastic's bulk API: action lines with their documents, and an item for each."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from tailrace.events import BadRequest, ParsedBatch, TailraceError, TooLarge
from tailrace.parsing import Limits, parse_documents
from tailrace.protocols.doors.filter_path import FilterPath

WRITES = ("create", "index")
ACTIONS = (*WRITES, "update", "delete")
ID = "_id"  # the field of an event with its id
MAX_ID_BYTES = 512  # as in Elasticsearch
MAX_ACTION_BYTES = 16 * 1024  # of a line, which holds little more than names and an id
BOM = b"\xef\xbb\xbf"
_EXCERPT_BYTES = 60
_NEWLINE = b"\n"


class Failure(Struct, frozen=True):
    """Why an operation stored nothing, as an item of the answer has it."""

    status: int
    type: str  # one of Elasticsearch's names of exceptions
    reason: str


class BulkOperation(Struct, frozen=True):
    """An action line."""

    action: str
    index: str = ""  # that it names, as sent
    id: str = ""
    pipeline: str = ""
    is_strict: bool = False  # whether it is only for an index that there is
    failure: Failure | None = None


class IndexBatch(Struct, frozen=True, eq=False):
    """What a bulk request has for one dataset."""

    parsed: ParsedBatch
    numbers: Sequence[int]  # of the operation of each event
    ids: list[str] = []  # of each event, "" for none; no ids at all where no event has one


class BulkRequest(Struct, frozen=True, eq=False):
    """A bulk request in its parts."""

    operations: list[BulkOperation]
    batches: dict[str, IndexBatch]  # by dataset
    failures: dict[int, Failure]  # by number of the operation
    unnamed: BadRequest | None = None  # why operations that name no index are for no dataset


class _Meta(Struct):
    index: str | None = msgspec.field(name="_index", default=None)
    id: str | int | None = msgspec.field(name="_id", default=None)
    pipeline: str | None = None
    require_alias: bool | None = None
    require_data_stream: bool | None = None


_ACTION = msgspec.json.Decoder(dict[str, _Meta | str | float | bool | list[Any] | None])


def read_bulk(
    body: bytes,
    *,
    dataset_of: Callable[[str], str],
    times: tuple[str, ...],
    limits: Limits,
    received_ns: int,
    in_bulk: bool = False,
) -> BulkRequest:
    """Return the operations of a decoded body, and their documents as events by dataset.

    `dataset_of` returns the dataset of an index as sent, "" where none is; it may raise BadRequest. An action line that
    cannot be read refuses the whole, as in Elasticsearch: which of the lines behind it are documents nobody knows.

    Raise BadRequest, TooLarge; with `in_bulk` ExactWayNeeded.
    """
    lines = _lines(body, limits)
    operations, documents = _paired(lines)
    if len(operations) > limits.max_events:
        raise TooLarge(f"the request holds more than max_events = {limits.max_events} operations")
    failures, places, unnamed = _by_dataset(operations, dataset_of)
    batches = {
        dataset: _index_batch(operations, documents, numbers, failures, times, limits, received_ns, in_bulk=in_bulk)
        for dataset, numbers in places.items()
    }
    return BulkRequest(operations, batches, failures, unnamed)


def _lines(body: bytes, limits: Limits) -> list[bytes]:
    # Counted first: a list of very many empty lines is much larger than the body.
    if body.count(_NEWLINE) > 2 * limits.max_events + 1:
        raise TooLarge(f"the request holds more than max_events = {limits.max_events} operations, of two lines each")
    lines = body.removeprefix(BOM).split(_NEWLINE)
    if not lines[-1].strip():
        lines.pop()
    return lines


def _paired(lines: list[bytes]) -> tuple[list[BulkOperation], list[bytes]]:
    """Return the operations, and the document of each; b"" where it has none."""
    actions = lines[::2]
    known: dict[bytes, BulkOperation] = {}
    if len(lines) % 2 == 0 and all(_is_write(known, line) for line in dict.fromkeys(actions)):
        return [known[line] for line in actions], lines[1::2]
    return _paired_one_by_one(lines)


def _is_write(known: dict[bytes, BulkOperation], line: bytes) -> bool:
    """Whether a line is an action that a document follows; note its operation."""
    try:
        operation = known[line] = _operation(line, 0)
    except BadRequest:
        return False
    return operation.action != "delete"


def _paired_one_by_one(lines: list[bytes]) -> tuple[list[BulkOperation], list[bytes]]:
    operations: list[BulkOperation] = []
    documents: list[bytes] = []
    known: dict[bytes, BulkOperation] = {}
    numbered = enumerate(lines, 1)
    for number, line in numbered:
        if not line.strip():
            continue  # as in Elasticsearch, where an action was expected
        operation = known.get(line)
        if operation is None:
            operation = known[line] = _operation(line, number)
        operations.append(operation)
        documents.append(b"" if operation.action == "delete" else next(numbered, (0, b""))[1])
    return operations, documents


def _operation(line: bytes, number: int) -> BulkOperation:
    """Return the operation of an action line; raise BadRequest where it is none."""
    if len(line) > MAX_ACTION_BYTES:
        raise BadRequest(_malformed(line, number, f"it has more than {MAX_ACTION_BYTES} bytes"))
    action, meta = _action_of(line, number)
    identity = "" if meta.id is None else str(meta.id)
    return BulkOperation(
        action,
        meta.index or "",
        identity,
        meta.pipeline or "",
        bool(meta.require_alias or meta.require_data_stream),
        _failure_of(action, identity),
    )


def _action_of(line: bytes, number: int) -> tuple[str, _Meta]:
    """Return the action of a line, and what it says; raise BadRequest where it is none.

    Further members, as winston-elasticsearch has them, mean nothing, as in Elasticsearch before version 9
    (BulkRequestParser.checkBulkActionIsProperlyClosed).
    """
    try:
        members = _ACTION.decode(line)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BadRequest(_malformed(line, number, str(error))) from None
    if len(members) != 1:
        members = {name: meta for name, meta in members.items() if name in ACTIONS}
    action, meta = members.popitem() if len(members) == 1 else ("", None)
    if action not in ACTIONS or not isinstance(meta, _Meta):
        raise BadRequest(_malformed(line, number, f"expected one of {', '.join(ACTIONS)}"))
    return action, meta


def _failure_of(action: str, identity: str) -> Failure | None:
    if action not in WRITES:
        reason = f"events are neither changed nor deleted one by one: {action} is not allowed, only index and create"
        return Failure(400, "illegal_argument_exception", reason)
    return id_failure(identity)


def id_failure(identity: str) -> Failure | None:
    """Return why an id cannot be one, None where it can."""
    size = len(identity.encode("utf-8", "replace"))
    if size > MAX_ID_BYTES:
        reason = f"id is too long, must be no longer than {MAX_ID_BYTES} bytes but was: {size}"
        return Failure(400, "illegal_argument_exception", reason)
    return None


def _malformed(line: bytes, number: int, reason: str) -> str:
    shown = line[:_EXCERPT_BYTES].decode("utf-8", "replace")
    return f"malformed action/metadata line [{number}], nothing of the request was stored: {shown!r}: {reason}"


def _by_dataset(
    operations: Sequence[BulkOperation], dataset_of: Callable[[str], str]
) -> tuple[dict[int, Failure], dict[str, Sequence[int]], BadRequest | None]:
    """Return the failures so far, the numbers of the other operations by dataset, and why some have no dataset."""
    failures = {
        number: operation.failure for number, operation in enumerate(operations) if operation.failure is not None
    }
    indexes = [operation.index for operation in operations]
    places: dict[str, list[int]] = {}
    of_index: dict[str, list[int]] = {}
    unnamed: BadRequest | None = None
    for index in dict.fromkeys(indexes):
        try:
            of_index[index] = places.setdefault(dataset_of(index), [])
        except BadRequest as error:
            unnamed = error
    if len(of_index) == 1 and not failures and unnamed is None:
        return failures, dict.fromkeys(places, range(len(operations))), None
    for number, index in enumerate(indexes):
        if number not in failures:
            if index in of_index:
                of_index[index].append(number)
            else:
                reason = f"index is missing: {unnamed.message}" if unnamed is not None else ""
                failures[number] = Failure(400, "action_request_validation_exception", reason)
    return failures, dict(places), unnamed


def _index_batch(
    operations: Sequence[BulkOperation],
    documents: Sequence[bytes],
    numbers: Sequence[int],
    failures: dict[int, Failure],
    times: tuple[str, ...],
    limits: Limits,
    received_ns: int,
    *,
    in_bulk: bool,
) -> IndexBatch:
    with_own_id = [number for number in numbers if operations[number].id and has_own_id(documents[number])]
    if with_own_id:
        failures.update(dict.fromkeys(with_own_id, OWN_ID))
        numbers = [number for number in numbers if number not in failures]
    is_all = len(numbers) == len(documents)
    parsed = parse_documents(
        documents if is_all else [documents[number] for number in numbers],
        times=times,
        limits=limits,
        received_ns=received_ns,
        in_bulk=in_bulk,
    )
    if parsed.rejections:
        for rejection in parsed.rejections:
            failures[numbers[rejection.index]] = Failure(400, "document_parsing_exception", rejection.reason)
        refused = {rejection.index for rejection in parsed.rejections}
        numbers = [number for position, number in enumerate(numbers) if position not in refused]
    ids = [operations[number].id for number in numbers]
    return with_ids(IndexBatch(parsed, numbers, ids if any(ids) else []))


class _OwnId(Struct):
    id: Raw | msgspec.UnsetType = msgspec.field(name=ID, default=msgspec.UNSET)


_OWN_ID = msgspec.json.Decoder(_OwnId)
OWN_ID = Failure(
    400,
    "document_parsing_exception",
    f"Field [{ID}] is a metadata field and cannot be added inside a document whose action names an id",
)


def has_own_id(document: bytes) -> bool:
    """Whether a document has a member with the name of the id's field."""
    if b'"_id"' not in document and b"\\u" not in document:
        return False
    try:
        return _OWN_ID.decode(document).id is not msgspec.UNSET
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False  # it is no object, for which it is refused


def with_ids(batch: IndexBatch) -> IndexBatch:
    """Return a batch whose events have their ids as their first member."""
    if not batch.ids:
        return batch
    lines = batch.parsed.events.split(_NEWLINE)[:-1]
    events = b"".join(_identified(line, identity) for line, identity in zip(lines, batch.ids, strict=True))
    return replace(batch, parsed=replace(batch.parsed, events=events))


def _identified(line: bytes, identity: str) -> bytes:
    if not identity:
        return line + _NEWLINE
    rest = line[1:].lstrip()
    return b'{"_id":' + msgspec.json.encode(identity) + (b"" if rest[:1] == b"}" else b",") + rest + _NEWLINE


# Answers.


def error_type(error: TailraceError) -> str:
    """Return Elasticsearch's name for an error."""
    return _TYPES_BY_CODE.get(error.code) or _TYPES_BY_STATUS.get(error.status, "exception")


_TYPES_BY_CODE = {
    "dataset_not_found": "index_not_found_exception",
    "invalid_name": "invalid_index_name_exception",
    "disk_full": "cluster_block_exception",
    "shutting_down": "cluster_block_exception",
    "not_ready": "cluster_block_exception",
}
_TYPES_BY_STATUS = {
    400: "illegal_argument_exception",
    401: "security_exception",
    403: "security_exception",
    404: "resource_not_found_exception",
    405: "illegal_argument_exception",
    408: "receive_timeout_transport_exception",
    409: "illegal_argument_exception",
    413: "content_too_long_exception",
    415: "media_type_header_exception",
    429: "es_rejected_execution_exception",
    503: "unavailable_shards_exception",
}


def failure_of(error: TailraceError) -> Failure:
    """Return the failure of the operations for a dataset that took none.

    Clients send again what has the status 429, and only that: the helpers of Elastic's Python and JavaScript clients,
    Beats and Logstash.
    """
    if error.retryable:
        return Failure(429, "es_rejected_execution_exception", error.message)
    return Failure(error.status, error_type(error), error.message)


def conflict(identity: str) -> Failure:
    """Return the failure of an operation that would create what there is."""
    reason = f"[{identity}]: version conflict, document already exists (current version [1])"
    return Failure(409, "version_conflict_engine_exception", reason)


def items(
    operations: Sequence[BulkOperation],
    failures: Mapping[int, Failure],
    default_index: str,
    selection: FilterPath,
    took_ms: int,
) -> bytes:
    """Return the answer to a bulk request: an item for each operation, in order, by what `filter_path` asks for."""

    def part(operation: BulkOperation, failure: Failure | None) -> bytes:
        said = selection.apply({"items": [{operation.action: item(operation, failure, default_index)}]})
        return msgspec.json.encode(said["items"][0]) if "items" in said else b""

    parts = _stored_parts(operations, partial(part, failure=None))
    for number, failure in failures.items():
        parts[number] = part(operations[number], failure)
    head = selection.apply({"took": took_ms, "errors": bool(failures)})
    answer = msgspec.json.encode(head)[:-1]
    listed = b",".join(filter(None, parts))
    if not listed and (operations or selection.includes):
        return answer + b"}"
    return answer + (b"," if head else b"") + b'"items":[' + listed + b"]}"


def _stored_parts(operations: Sequence[BulkOperation], part: Callable[[BulkOperation], bytes]) -> list[bytes]:
    """Return the items of operations that were done: made once for those that differ but in their ids."""
    pieces: dict[tuple[str, str, bool], list[bytes]] = {}
    parts: list[bytes] = []
    for operation in operations:
        key = operation.action, operation.index, bool(operation.id)
        between = pieces.get(key)
        if between is None:
            marked = replace(operation, id=_MARK) if operation.id else operation
            between = pieces[key] = part(marked).split(msgspec.json.encode(_MARK))
        parts.append(between[0] if len(between) == 1 else msgspec.json.encode(operation.id).join(between))
    return parts


_MARK = "\0id\0"  # in no index: those have no such names


def item(operation: BulkOperation, failure: Failure | None, default_index: str) -> dict[str, Any]:
    """Return what an item says of an operation."""
    said: dict[str, Any] = {"_index": operation.index or default_index}
    if operation.id:
        said[ID] = operation.id
    if failure is None:
        return {**said, "_version": 1, "result": "created", "status": 201}
    return {**said, "status": failure.status, "error": {"type": failure.type, "reason": failure.reason}}
