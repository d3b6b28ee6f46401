"""What a request may hold: every limit of parsing, with its unit."""

from msgspec import Struct


class Limits(Struct, frozen=True):
    """Limits on one request; a refusal names the limit and its value."""

    max_body_bytes: int = 64 * 1024 * 1024  # after content decoding
    max_events: int = 100_000  # in one request
    max_event_bytes: int = 16 * 1024 * 1024  # of one event, as stored
    max_string_bytes: int = 1_000_000  # of one string value, UTF-8; a longer one is replaced by a mark
    max_name_bytes: int = 200  # of one field name, UTF-8
    max_depth: int = 100  # containers within containers, the event itself being the first; what is deeper becomes null
