"""Times as protocols write them."""

import time


def rfc3339(time_ns: int) -> str:
    """A time in ns since the Unix epoch as RFC 3339 in UTC, its fraction without trailing zeros."""
    seconds, fraction = divmod(time_ns, 1_000_000_000)
    moment = time.gmtime(seconds)
    text = f"{moment.tm_year:04}-{moment.tm_mon:02}-{moment.tm_mday:02}T"
    text += f"{moment.tm_hour:02}:{moment.tm_min:02}:{moment.tm_sec:02}"
    return text + (f".{fraction:09}".rstrip("0") if fraction else "") + "Z"
