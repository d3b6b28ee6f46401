"""Fields and statistics of datasets over HTTP."""

import asyncio

from msgspec import UNSET, Struct, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant, may_query, require_query
from tailrace.api.field_store import FieldNote, VirtualField
from tailrace.api.route import ANY_TOKEN, QUERY, ApiRoute, under
from tailrace.api.services import Services, json_response, read_json
from tailrace.events import TailraceError
from tailrace.events.times import rfc3339
from tailrace.lake import DataFile, FieldsView, HotTable, Snapshot

TIME, SYSTEM_TIME = "_time", "_sysTime"
NS_PER_US = 1_000
NO_NOTE = FieldNote()
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


class FieldAnswer(Struct, frozen=True):
    """A field as Axiom's clients have it."""

    name: str
    type: str  # several types are joined by |
    unit: str = ""
    hidden: bool = False
    description: str = ""


class DatasetFields(Struct, frozen=True, rename="camel"):
    """The fields of a dataset."""

    dataset_name: str
    fields: list[FieldAnswer]


class DatasetInfoAnswer(Struct, frozen=True, rename="camel"):
    """Statistics of a dataset.

    Of the input is told what was received since the dataset was made, that included which was deleted: events, and
    their bytes as lines of JSON. The others are of what it holds; compressed is what its files take up on the disk.
    A block is a file of its table, or a part of its events in memory, which are not committed to the table yet.
    """

    name: str
    num_events: int
    num_fields: int
    num_blocks: int
    num_files: int
    uncommitted_events: int
    input_events: int
    input_bytes: int
    compressed_bytes: int
    input_bytes_human: str
    compressed_bytes_human: str
    created: str
    who: str
    fields: list[FieldAnswer]
    min_time: str | UnsetType = UNSET
    max_time: str | UnsetType = UNSET


class StatisticsAnswer(Struct, frozen=True, rename="camel"):
    """Statistics of all datasets that the token may query, and their sums."""

    datasets: list[DatasetInfoAnswer]
    num_blocks: int
    num_events: int
    input_bytes: int
    compressed_bytes: int
    input_bytes_human: str
    compressed_bytes_human: str


class FieldsBody(Struct, rename="camel"):
    """The names of datasets; none for all."""

    datasets: list[str] | None = None


async def all_fields(request: Request, services: Services, grant: Grant) -> Response:
    """Return the fields of every dataset that the token may query."""
    return json_response(await asyncio.to_thread(_fields_of, services, grant, None))


async def chosen_fields(request: Request, services: Services, grant: Grant) -> Response:
    """Return the fields of the datasets in the body, or of all that the token may query."""
    body = await read_json(request, FieldsBody | None)  # type: ignore[arg-type]
    return json_response(await asyncio.to_thread(_fields_of, services, grant, body.datasets if body else None))


async def dataset_fields(request: Request, services: Services, grant: Grant) -> Response:
    """Return the fields of a dataset, stored and virtual."""
    [fields] = await asyncio.to_thread(_fields_of, services, grant, [request.path_params["id"]])
    return json_response(fields.fields)


async def info(request: Request, services: Services, grant: Grant) -> Response:
    """Return statistics of a dataset: events, bytes, times, fields."""
    name = request.path_params["id"]
    require_query(grant, name)
    return json_response(await asyncio.to_thread(_info, services, name))


async def stats(request: Request, services: Services, grant: Grant) -> Response:
    """Return statistics of every dataset that the token may query, and their sums."""

    def collect() -> StatisticsAnswer:
        infos = []
        for name in _readable(services, grant):
            try:
                infos.append(_info(services, name))
            except TailraceError:  # dropped or damaged meanwhile
                continue
        stored, compressed = sum(each.input_bytes for each in infos), sum(each.compressed_bytes for each in infos)
        return StatisticsAnswer(
            datasets=infos,
            num_blocks=sum(each.num_blocks for each in infos),
            num_events=sum(each.num_events for each in infos),
            input_bytes=stored,
            compressed_bytes=compressed,
            input_bytes_human=_human(stored),
            compressed_bytes_human=_human(compressed),
        )

    return json_response(await asyncio.to_thread(collect))


def _readable(services: Services, grant: Grant) -> list[str]:
    return [each.name for each in services.lake.datasets() if may_query(grant, each.name)]


def _fields_of(services: Services, grant: Grant, names: list[str] | None) -> list[DatasetFields]:
    if names is None:
        names = _readable(services, grant)
    for name in names:
        require_query(grant, name)
    return [DatasetFields(name, _fields(services, services.snapshot(name))) for name in names]


def fields_of(services: Services, dataset: str) -> list[FieldAnswer]:
    """Return the fields of one dataset, stored and virtual, as `GET /v2/datasets/{id}/fields` has them."""
    return _fields(services, services.snapshot(dataset))


def _fields(services: Services, snapshot: Snapshot) -> list[FieldAnswer]:
    """Return stored fields sorted bytewise by name, then virtual ones, as a query answers with them."""
    types: dict[str, set[str]] = {}
    view: FieldsView = snapshot.fields
    for column in view.columns:
        types.setdefault(column.path, set()).add(column.type)
    for path, met in view.rest.items():
        types.setdefault(path, set()).update("float" if each == "number" else each for each in met)
    for path in snapshot.timespans & types.keys():
        if snapshot.is_timespan(path, types[path]):
            types[path] = {"timespan"}
    notes = services.fields.field_notes(snapshot.dataset)

    def noted(name: str, kind: str) -> FieldAnswer:
        note = notes.get(name, NO_NOTE)
        return FieldAnswer(name, kind, note.unit, note.hidden, note.description)

    for name in services.fields.shown_map_fields().get(snapshot.dataset, ()):
        inside = [path for path in types if path.startswith(f"{name}.")]
        if inside:
            types.setdefault(name, set()).add("map")
        for path in inside:
            del types[path]
    fields = {path: noted(path, "|".join(sorted(met))) for path, met in types.items()}
    fields |= {name: noted(name, "datetime") for name in (TIME, SYSTEM_TIME)}
    virtual: list[VirtualField] = services.fields.virtual_fields(snapshot.dataset)
    hidden = {each.name for each in virtual}
    stored = [fields[name] for name in sorted(fields, key=str.encode) if name not in hidden]
    return stored + [
        FieldAnswer(each.name, each.type or "unknown", each.unit, False, each.description) for each in virtual
    ]


def _info(services: Services, name: str) -> DatasetInfoAnswer:
    what = services.lake.get(name)
    snapshot = services.snapshot(name)
    fields = _fields(services, snapshot)
    compressed = sum(file.bytes for file in snapshot.files)
    parts: tuple[DataFile | HotTable, ...] = (*snapshot.files, *snapshot.hot)
    times = [time for part in parts for time in (part.min_time_us, part.max_time_us)]
    uncommitted = sum(part.rows.num_rows for part in snapshot.hot)
    return DatasetInfoAnswer(
        name=name,
        num_events=sum(file.rows for file in snapshot.files) + uncommitted,
        num_fields=len(fields),
        num_blocks=len(snapshot.files) + len(snapshot.hot),
        num_files=len(snapshot.files),
        uncommitted_events=uncommitted,
        input_events=snapshot.received.events,
        input_bytes=snapshot.received.bytes,
        compressed_bytes=compressed,
        input_bytes_human=_human(snapshot.received.bytes),
        compressed_bytes_human=_human(compressed),
        created=rfc3339(what.created_ns),
        who=what.who,
        fields=fields,
        min_time=rfc3339(min(times) * NS_PER_US) if times else UNSET,
        max_time=rfc3339(max(times) * NS_PER_US) if times else UNSET,
    )


def _human(size: int) -> str:
    """Return a size as text, in powers of 1000."""
    amount = float(size)
    for unit in _UNITS[:-1]:
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} {_UNITS[-1]}"


ROUTES = (
    *under(
        ("/v1", "/api/v1"),
        ApiRoute(
            "GET", "/datasets/_fields", all_fields, ANY_TOKEN, answer=list[DatasetFields], further_permission=QUERY
        ),
        ApiRoute(
            "POST",
            "/datasets/_fields",
            chosen_fields,
            ANY_TOKEN,
            body=FieldsBody | None,
            example={"datasets": ["demo"]},
            answer=list[DatasetFields],
            refusals=(404,),
            further_permission=QUERY,
        ),
        ApiRoute("GET", "/datasets/_stats", stats, ANY_TOKEN, answer=StatisticsAnswer, further_permission=QUERY),
        ApiRoute("GET", "/datasets/{id}/info", info, ANY_TOKEN, answer=DatasetInfoAnswer, further_permission=QUERY),
    ),
    ApiRoute(
        "GET", "/v2/datasets/{id}/fields", dataset_fields, ANY_TOKEN, answer=list[FieldAnswer], further_permission=QUERY
    ),
)
