"""Trying a call of an object store again, with pauses that grow."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from tailrace.storage.object_store import ObjectStoreUnavailable

FIRST_PAUSE_S, MAX_PAUSE_S = 0.05, 2.0

T = TypeVar("T")


def retried(call: Callable[[], T], timeout_s: float) -> T:
    """Return what a call returns, made again while it raises ObjectStoreUnavailable.

    Raise the last one when the next attempt would be later than `timeout_s` after the first.
    """
    give_up_s = time.monotonic() + timeout_s
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            return call()
        except ObjectStoreUnavailable:
            waited_s = pause_s * random.uniform(0.5, 1)  # so that many processes do not come back together
            if time.monotonic() + waited_s > give_up_s:
                raise
        time.sleep(waited_s)
        pause_s = min(2 * pause_s, MAX_PAUSE_S)
