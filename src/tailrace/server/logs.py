"""The server's own log: how its lines look."""

import logging
import sys
from typing import Literal

import msgspec

from tailrace.events.times import rfc3339
from tailrace.storage.faults import without_traceback

LogFormat = Literal["text", "json"]

NS_PER_S = 1_000_000_000


class JsonFormatter(logging.Formatter):
    """An object a line; what a message has `fields` of stands beside it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        line: dict[str, object] = {
            "time": rfc3339(int(record.created * 1000) * 1_000_000),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if isinstance(record.args, tuple) and record.args:
            line |= getattr(record.args[0], "fields", {})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


def as_logged(text: str) -> str:
    """Return what the server says beside its log in the form of that: the text, or an object for each line of it."""
    form = next((handler.formatter for handler in logging.getLogger().handlers), None)
    if not isinstance(form, JsonFormatter):
        return text
    about = {"name": "tailrace.server", "levelno": logging.INFO, "levelname": logging.getLevelName(logging.INFO)}
    return "\n".join(form.format(logging.makeLogRecord({**about, "msg": line})) for line in text.splitlines())


def configure(level: str, form: LogFormat) -> None:
    """Write the log to standard error, from a level on; of other libraries warnings and errors only."""
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(without_traceback)
    handler.setFormatter(text if form == "text" else JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("tailrace").setLevel(level.upper())
