"""Live tails: the readers of what is being appended, with their conditions."""

from typing import TYPE_CHECKING

from tailrace.events.lazy import lazy_imports

if TYPE_CHECKING:
    from tailrace.tail.readers import Missed, Reader, Tails, TailSource, message
    from tailrace.tail.settings import TailLimits
else:
    __getattr__ = lazy_imports(__name__, __file__)

__all__ = ["Missed", "Reader", "TailLimits", "TailSource", "Tails", "message"]
