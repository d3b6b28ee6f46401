"""What Loki's query API asks of datasets: which ones a selector is over, their events as labels."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any

import msgspec
import pyarrow as pa
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant, Usage, may_query, require_query
from tailrace.api import apl
from tailrace.api.loki_parameters import Parameters, parameters_of
from tailrace.api.services import Handler, Services
from tailrace.api.statistics import fields_of
from tailrace.events import BadRequest
from tailrace.query import AplRequest, Interrupt
from tailrace.query.apl.tree import Program
from tailrace.query.logql import compile as compiled
from tailrace.query.logql.fields import DATASET, LabelFields
from tailrace.query.logql.tree import Matcher

DATASET_HEADER = "X-Axiom-Dataset"  # of a selector that names none
Answer = Callable[[Request, Services, Grant, Parameters], Awaitable[Any]]


class Selection(Struct, frozen=True, eq=False):
    """The datasets that a query is over, and their fields."""

    datasets: tuple[str, ...]
    fields: LabelFields


class Asker(Struct, frozen=True):
    """Runs queries for a request. Its methods run in a thread of queries."""

    services: Services
    grant: Grant
    interrupt: Interrupt

    def select(self, matchers: Sequence[Matcher], header: str) -> tuple[Selection, tuple[Matcher, ...]]:
        """Return what a selector is over, and its conditions on other labels. Raise BadRequest, Forbidden."""
        split = compiled.split_datasets(matchers)
        names = split.names or tuple(self._default(header))
        types: dict[str, set[str]] = {}
        for name in names:
            require_query(self.grant, name)
            for field in fields_of(self.services, name):
                types.setdefault(field.name, set()).update(field.type.split("|"))
        merged = {name: "|".join(sorted(kinds)) for name, kinds in types.items()}
        return Selection(names, LabelFields(merged)), split.matchers

    def readable(self) -> list[str]:
        """Return the datasets that may be queried."""
        return [each.name for each in self.services.lake.datasets() if may_query(self.grant, each.name)]

    def _default(self, header: str) -> list[str]:
        """Return the dataset of a selector that names none."""
        if header or self.grant.default_dataset:
            return [header or self.grant.default_dataset]
        names = self.readable()
        if len(names) == 1:
            return names
        raise BadRequest(
            f'name the dataset by a label, such as {{dataset="{names[0] if names else "web"}"}}, or by the header '
            "X-Axiom-Dataset, or give the token a default dataset"
        )

    def rows(self, program: Program, start_ns: int | None, end_ns: int | None, *, limit: int) -> pa.Table:
        """Return the rows of a query, of at most `limit`."""
        request = AplRequest(
            apl="", program=program, start_ns=start_ns, end_ns=end_ns, default_limit=limit, totals=False
        )
        return apl.run(self.services, self.grant, request, self.interrupt).tables[0].rows


def answering(*, enveloped: bool = True) -> Callable[[Answer], Handler]:
    """Return what makes handlers that answer with data, most of it in Loki's envelope; errors are the API's."""

    def handler(answer: Answer) -> Handler:
        @wraps(answer)
        async def handle(request: Request, services: Services, grant: Grant) -> Response:
            data = await answer(request, services, grant, await parameters_of(request))
            content = msgspec.json.encode({"status": "success", "data": data} if enveloped else data)
            if grant.budget is not None:
                await asyncio.to_thread(services.access.budgets.spend, grant, Usage(bytes=len(content)))
            return Response(content, media_type="application/json")

        return handle

    return handler


def stream_of(selection: Selection, record: Mapping[str, Any]) -> dict[str, str]:
    """Return the labels of an event: its scalar fields and its dataset; what is empty is none."""
    found = {DATASET: str(record.get(DATASET) or selection.datasets[0])}
    for name, value in record.items():
        if name != selection.fields.line and name != compiled.EVENTS and (label := selection.fields.label(name)):
            text = text_of(value)
            if text:
                found.setdefault(label, text)
    return found


def text_of(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def header_of(request: Request) -> str:
    return request.headers.get(DATASET_HEADER, "")


def records_of(rows: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in rows.to_batches(max_chunksize=1000):
        yield from batch.to_pylist()
