"""A default that a package has for its own callers is that of the setting."""

import inspect
from typing import Any

import pytest
from msgspec import Struct

from tailrace.config import Settings
from tailrace.lake import LakeSettings, MaintenanceSettings
from tailrace.log import LocalLog
from tailrace.monitors import DeliverySettings, MailServer
from tailrace.parsing import Limits
from tailrace.query import QueryLimits
from tailrace.tail import TailLimits

# The struct, what its members are called in the settings, and those that are no setting of their own.
STRUCTS: tuple[tuple[Struct, str, dict[str, str], set[str]], ...] = (
    (Limits(), "", {}, set()),
    (LakeSettings(), "", {}, {"maintenance"}),
    (MaintenanceSettings(), "", {"every_s": "maintenance_every_s"}, set()),
    (QueryLimits(), "query_", {}, set()),
    (TailLimits(), "tail_", {}, set()),
    (DeliverySettings(), "outgoing_", {}, {"mail"}),
    (MailServer(), "smtp_", {"sender": "smtp_from"}, set()),
)


@pytest.mark.parametrize(
    ("struct", "prefix", "names", "others"), STRUCTS, ids=[type(struct).__name__ for struct, *_ in STRUCTS]
)
def test_the_defaults_of_a_struct_are_those_of_the_settings(
    struct: Struct, prefix: str, names: dict[str, str], others: set[str]
) -> None:
    members = [member for member in struct.__struct_fields__ if member not in others]
    own: dict[str, Any] = {member: getattr(struct, member) for member in members}

    assert own == {member: getattr(Settings(), names.get(member, prefix + member)) for member in members}


def test_the_defaults_of_the_log_are_those_of_the_settings() -> None:
    parameters = inspect.signature(LocalLog.open).parameters
    for name in ("segment_bytes", "min_free_bytes", "max_queued_bytes"):
        assert parameters[name].default == getattr(Settings(), f"log_{name}")
