"""Which of the media types that an answer can have a client accepts."""

from collections.abc import Callable, Mapping

from tailrace.query import Result, to_arrow, to_csv, to_json, to_ndjson

JSON = "application/json"
PLAIN: Mapping[str, Callable[[Result], bytes]] = {
    "application/x-ndjson": to_ndjson,
    "text/csv": to_csv,
    "application/vnd.apache.arrow.stream": to_arrow,
}
FORMATS: Mapping[str, Callable[[Result], bytes]] = {JSON: to_json, **PLAIN}


def accepted(header: str) -> str:
    """The first media type of an Accept header, by its weights, that an answer can have; else JSON."""
    weighted = []
    for part in header.split(","):
        media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name == "q":
                try:
                    weight = float(value)
                except ValueError:
                    weight = 0.0
        if media_type in FORMATS and weight > 0:
            weighted.append((weight, media_type))
    return max(weighted, key=lambda pair: pair[0])[1] if weighted else JSON
