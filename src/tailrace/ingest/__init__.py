"""The ingest service between protocols and log: checks, deduplication, upserts, back pressure."""

from tailrace.ingest.idempotency_keys import IdempotencyKeys
from tailrace.ingest.lookups import THREADS as LOOKUP_THREADS
from tailrace.ingest.lookups import Lookups
from tailrace.ingest.service import IngestCounters, LogIngestService

__all__ = ["LOOKUP_THREADS", "IdempotencyKeys", "IngestCounters", "LogIngestService", "Lookups"]
