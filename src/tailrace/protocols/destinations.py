"""Where events of a token's request go: which dataset, whether the token may send there, and one receipt for each."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct

from tailrace.access import Grant, allows, require
from tailrace.events import BadRequest, DatasetNotFound, OpenDataset, ParsedBatch, Receipt, Rejection, TailraceError
from tailrace.events.declarations import DeclaredFields
from tailrace.protocols.http import IngestService, Request

DATASET = b"x-axiom-dataset"  # the header that names the dataset of what does not name one itself
EVERY_DATASET = "*"  # in a token's capabilities
NO_LABELS: dict[str, Any] = {}
NO_FIELDS: DeclaredFields = {}
HOW_TO_MAKE = "`tailrace dataset create` or POST /v2/datasets makes it"  # a dataset that is not found


class Delivery(Struct, frozen=True):
    """What became of the events of a request, by dataset: each is in one of the two."""

    receipts: dict[str, Receipt]
    refusals: dict[str, TailraceError]  # of datasets that took nothing

    @property
    def stored(self) -> int:
        """How many events are durable."""
        return sum(receipt.stored for receipt in self.receipts.values())

    @property
    def rejections(self) -> tuple[Rejection, ...]:
        """The events that were refused one by one, dataset by dataset."""
        return tuple(rejection for receipt in self.receipts.values() for rejection in receipt.rejections)


def dataset_of(request: Request, grant: Grant, *, named: str = "", label: str = "", header: bytes = DATASET) -> str:
    """Return the dataset that events are for; raise BadRequest where nothing says it.

    The first of these that is there: the one `named` as the protocol does; the header of that lower-case name; a
    `label`, which an event or its source bears; the token's default; the only one that the token may send to.
    """
    sent = request.headers.get(header)
    name = named or (sent.decode("utf-8", "replace").strip() if sent else "") or label or grant.default_dataset
    return name or only_dataset(grant)


def only_dataset(grant: Grant) -> str:
    """Return the only dataset that a token may send to; raise BadRequest where that is none, or several."""
    names = [name for name in grant.datasets if name != EVERY_DATASET]
    sendable = [name for name in names if allows(grant, capability="ingest", action="create", dataset=name)]
    everywhere = allows(grant, capability="ingest", action="create", dataset=EVERY_DATASET)
    if everywhere or len(sendable) != 1:
        raise BadRequest(
            "no dataset is named: send the header X-Axiom-Dataset, or use an API token with a default dataset, "
            "or one that may send to exactly one dataset"
        )
    return sendable[0]


async def deliver(
    batches: Mapping[str, ParsedBatch],
    request: Request,
    service: IngestService,
    grant: Grant,
    *,
    labels: dict[str, Any] = NO_LABELS,
    creates: bool = False,
    declares: DeclaredFields = NO_FIELDS,
) -> Delivery:
    """Store what was parsed for each dataset, and return once all of it is durable.

    With `creates` a dataset that is missing is made, if the token may do so. `declares` are types of fields that their
    values do not say. A dataset that cannot take events is a refusal; where that is the only one, and where the client
    should send the request again later, it is raised. What is stored of the others is not stored again then, if that is
    soon and the server was not restarted.
    """
    ingest = service.ingest if len(batches) == 1 else service.ingest_part
    opened: dict[str, OpenDataset] = {}

    async def store(name: str, dataset: OpenDataset) -> Receipt:
        opened[name] = dataset
        if declares:
            await service.declare(dataset, declares)
        return await ingest(batches[name], dataset, request.outcome, received_ns=request.received_ns, labels=labels)

    delivery = await attempt(batches, store, service, grant, creates=creates)
    if any(refusal.retryable for refusal in delivery.refusals.values()):
        for name, receipt in delivery.receipts.items():
            await service.keep_part(
                receipt,
                batches[name],
                opened[name],
                request.outcome,
                received_ns=request.received_ns,
                labels=labels,
            )
    for refusal in delivery.refusals.values():
        if refusal.retryable or len(batches) == 1:
            raise refusal
    for name, refusal in delivery.refusals.items():
        request.outcome.reject_all(batches[name].count, refusal)
        request.outcome.reject(batches[name].rejections)
    return delivery


def unstored(batches: Mapping[str, ParsedBatch], delivery: Delivery) -> int:
    """Return how many events there were of the datasets that took nothing, those with a fault of their own included.

    The others that were refused are the delivery's rejections.
    """
    return sum(batches[name].count + len(batches[name].rejections) for name in delivery.refusals)


async def attempt(
    names: Iterable[str],
    store: Callable[[str, OpenDataset], Awaitable[Receipt]],
    service: IngestService,
    grant: Grant,
    *,
    creates: bool = False,
) -> Delivery:
    """Call `store` for each of these datasets that the token may send to, all at once.

    With `creates` a dataset that is missing is made, if the token may do so. What is refused is in the delivery; but
    before anything is stored an error is raised after which the client should send the request again later.
    """
    opened: dict[str, OpenDataset] = {}
    refusals: dict[str, TailraceError] = {}
    for name in names:
        try:
            opened[name] = await open_dataset(name, service, grant, creates=creates)
        except TailraceError as error:
            if error.retryable:
                raise
            refusals[name] = error
    results = await asyncio.gather(*(store(*each) for each in opened.items()), return_exceptions=True)
    receipts: dict[str, Receipt] = {}
    for name, result in zip(opened, results, strict=True):
        if isinstance(result, Receipt):
            receipts[name] = result
        elif isinstance(result, TailraceError):
            refusals[name] = result
        else:
            raise result
    return Delivery(receipts, refusals)


async def open_dataset(name: str, service: IngestService, grant: Grant, *, creates: bool) -> OpenDataset:
    """Return a dataset that the token may send to; with `creates` a missing one is made, if the token may do so.

    Raise Forbidden, and what `IngestService.check_dataset` and `ensure_dataset` raise.
    """
    require(grant, capability="ingest", action="create", dataset=name)
    try:
        return service.check_dataset(name)
    except DatasetNotFound as error:
        if creates and allows(grant, capability="datasets", action="create"):
            return await service.ensure_dataset(name, organisation=grant.organisation, actor=grant.actor)
        raise DatasetNotFound(f"{error.message}: {HOW_TO_MAKE}") from None
