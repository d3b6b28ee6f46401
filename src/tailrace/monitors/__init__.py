"""Monitors, which run a query on an interval, and notifiers, which send their alerts."""

from typing import TYPE_CHECKING

from tailrace.events.lazy import lazy_imports

if TYPE_CHECKING:
    from tailrace.monitors.delivery import NotificationSender
    from tailrace.monitors.monitor import Monitor, read_monitor
    from tailrace.monitors.notifications import DeliveryFailed, NotDelivered, Notification
    from tailrace.monitors.notifier import Notifier, read_notifier
    from tailrace.monitors.runner import MonitorQuery, Runner, ScheduledMonitor
    from tailrace.monitors.settings import DeliverySettings, MailServer, MonitorSettings
    from tailrace.monitors.store import HistoryEntry, MonitorStore, delete_records, make_due
else:
    __getattr__ = lazy_imports(__name__, __file__)

__all__ = [
    "DeliveryFailed",
    "DeliverySettings",
    "HistoryEntry",
    "MailServer",
    "Monitor",
    "MonitorQuery",
    "MonitorSettings",
    "MonitorStore",
    "NotDelivered",
    "Notification",
    "NotificationSender",
    "Notifier",
    "Runner",
    "ScheduledMonitor",
    "delete_records",
    "make_due",
    "read_monitor",
    "read_notifier",
]
