"""The priority of the lake's threads: behind those that answer clients."""

import os
import sys
import threading

NICE = 10


def lower_priority() -> None:
    """Let this thread, and those that it starts, give way to the ones that answer clients."""
    if sys.platform == "linux":  # elsewhere a priority is the whole process's
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
