"""Where events of streams go: whose token decides, which dataset they are for, and how they become durable."""

from tailrace.events import Receipt, Unauthorized
from tailrace.events.idempotency import IdempotencyKey, digest
from tailrace.events.outcome import RequestOutcome
from tailrace.protocols.destinations import NO_LABELS, only_dataset, open_dataset
from tailrace.protocols.http import IngestService
from tailrace.protocols.stream import StreamOptions, StreamPart


async def deliver_part(
    part: StreamPart, service: IngestService, options: StreamOptions, outcome: RequestOutcome, *, received_ns: int
) -> Receipt:
    """Store the events of one token and dataset, and return once they are durable; note in `outcome` whose they are.

    Raise Unauthorized, Forbidden, BadRequest where no dataset is named, and what `IngestService.ingest` raises.
    """
    secret = part.token or options.token
    if not secret:
        raise Unauthorized("no token: the settings of the door name one, or the message does where it can")
    grant = service.access.authenticate(secret)
    name = part.dataset or options.dataset or grant.default_dataset or only_dataset(grant)
    dataset = await open_dataset(name, service, grant, creates=False)
    outcome.sender = grant.sender
    outcome.idempotency = IdempotencyKey(digest(outcome.protocol.encode(), part.key)) if part.key else None
    return await service.ingest(part.parsed, dataset, outcome, received_ns=received_ns, labels=NO_LABELS)
