"""Live tails: the readers of what is being appended, with their conditions."""

from tailrace.tail.readers import Missed, Reader, TailLimits, Tails, message

__all__ = ["Missed", "Reader", "TailLimits", "Tails", "message"]
