"""Monitors, which run a query on an interval, and notifiers, which send their alerts."""

from tailrace.monitors.monitor import Monitor, read_monitor
from tailrace.monitors.notifier import Notifier, read_notifier
from tailrace.monitors.outgoing import Mail, Outgoing, Sender
from tailrace.monitors.runner import Defined, Question, Runner
from tailrace.monitors.store import Entry, MonitorStore

__all__ = [
    "Defined",
    "Entry",
    "Mail",
    "Monitor",
    "MonitorStore",
    "Notifier",
    "Outgoing",
    "Question",
    "Runner",
    "Sender",
    "read_monitor",
    "read_notifier",
]
