"""The health of a lake: its faults, and how far its tables are behind the log."""

import time

from msgspec import Struct

from tailrace.lake.state import LakeState

COMMIT_FAILURES_NOTED = 2  # successive ones of a dataset, which make it a fault of the lake


class Lag(Struct, frozen=True):
    """How far the tables are behind the log."""

    events: int  # acknowledged, and not committed
    age_s: float  # of the oldest of them


def lag(state: LakeState) -> Lag:
    """Return how much is durable in the log and not in its table yet."""
    with state.lock:
        datasets = list(state.datasets.values())
        events = sum(dataset.uncommitted_events for dataset in datasets)
        oldest_s = [
            part[0].since_s
            for dataset in datasets
            for part in (dataset.committing, dataset.hot, dataset.shredding, dataset.waiting)
            if part
        ]
    return Lag(events, time.monotonic() - min(oldest_s) if oldest_s else 0.0)


def failure(state: LakeState) -> str:
    """Return why shredding has stopped, empty while it works."""
    if state.shredding_error is not None:
        return f"the shredding thread has failed: {state.shredding_error!r}"
    return f"events cannot be shredded at the moment: {state.shredding_trouble}" if state.shredding_trouble else ""


def faults(state: LakeState) -> dict[str, str]:
    """Return the datasets that cannot be opened, committed or read, each with the reason. May block on the disk."""
    with state.lock:
        datasets = list(state.datasets.values())
        found = {name: dataset.message for name, dataset in state.unavailable.items()}
    for dataset in datasets:
        if not dataset.table.exists() and not dataset.dropped:
            found[dataset.info.name] = dataset.gone_message
        elif dataset.failed_commits >= COMMIT_FAILURES_NOTED:
            found[dataset.info.name] = (
                f"dataset {dataset.info.name!r} cannot be committed, {dataset.failed_commits} attempts failed: "
                f"{dataset.commit_failure}"
            )
    return found


def damage(state: LakeState) -> dict[str, str]:
    """Return the datasets with files that are known to be damaged, with the paths of those below its directory."""
    found = {}
    for dataset in list(state.datasets.values()):
        if damaged := dataset.maintenance.damaged:
            found[dataset.info.name] = (
                f"dataset {dataset.info.name!r} has damaged files, and queries that need them are refused: "
                f"{', '.join(sorted(damaged))}"
            )
    return found


def damaged_files(state: LakeState) -> int:
    """Return the number of files that are known to be damaged."""
    return sum(len(dataset.maintenance.damaged) for dataset in list(state.datasets.values()))
