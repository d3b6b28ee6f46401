"""Labels: the members of a JSON object that every event of a request gets."""

from typing import Any

import msgspec

from tailrace.events import BadRequest
from tailrace.parsing import Limits, TimeRule, parse_json

TIME = "_time"
_TIMES = TimeRule()


def labels_of(value: bytes, header: str, limits: Limits, received_ns: int) -> dict[str, Any]:
    """Return the members of a JSON object, which are checked like the fields of an event.

    Raise BadRequest, which names the header that it came in, for what is no object, and for one that sets the time.
    """
    try:
        parsed = parse_json(value, times=_TIMES, limits=limits, received_ns=received_ns)
    except BadRequest as error:
        raise BadRequest(f"{header} is not a JSON object: {error.message}") from error
    if parsed.rejections:
        raise BadRequest(f"{header} is refused: {parsed.rejections[0].reason}")
    if parsed.count != 1:
        raise BadRequest(f"{header} must be one JSON object, not {parsed.count}")
    try:
        labels: dict[str, Any] = msgspec.json.decode(parsed.events)
    except msgspec.MsgspecError as error:
        raise BadRequest(f"{header} is refused: {error}") from error
    if TIME in labels:
        raise BadRequest(f"{header} may not set {TIME}, which every event has of its own")
    return labels
