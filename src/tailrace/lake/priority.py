"""The priority of background threads: lower than of those that answer clients."""

import os
import sys
import threading

NICE = 10


def lower_priority() -> None:
    """Lower the priority of this thread, and of those that it starts."""
    if sys.platform == "linux":  # elsewhere a priority is the whole process's
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
