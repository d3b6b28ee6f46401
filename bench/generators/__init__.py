"""Seeded events to measure with: API logs, events of a Bluesky relay, spans of traces and lines of servers' logs."""

from bench.generators.api_logs import API_LOGS
from bench.generators.bluesky import BLUESKY
from bench.generators.generator import Generator
from bench.generators.log_lines import LOG_LINES
from bench.generators.spans import SPANS

GENERATORS = (API_LOGS, BLUESKY, SPANS, LOG_LINES)

__all__ = ["API_LOGS", "BLUESKY", "GENERATORS", "LOG_LINES", "SPANS", "Generator"]
