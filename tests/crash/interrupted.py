"""Steps of maintenance on lakes, each in a process of its own that ends with SIGKILL at a chosen moment of the step.

It reads lines of JSON, `[root, operation, moment, bound_ns]`, and answers each with how its process ended: the negative
number of a signal, or the exit code, which is 0 where the moment never came. The processes are forked from this one,
which has imported all and used none of it, as the imports would take longer than the steps.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from tailrace.lake import DataFile, FieldsView, Lake, LakeSettings, MaintenanceSettings
from tailrace.lake import maintenance as maintenance_module
from tailrace.lake import rewrite as rewrite_module
from tailrace.lake import sidecar as sidecar_module
from tailrace.lake import table as table_module
from tailrace.lake.local_table import LocalTable

DATASET = "d"
BY_HAND = LakeSettings(commit_age_s=1e9, maintenance=MaintenanceSettings(every_s=1e9, keep_removed_s=0))

Call = Callable[..., Any]


def end(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before(function: Call) -> Call:
    return end


def after(function: Call) -> Call:
    def call(*arguments: Any, **named: Any) -> None:
        function(*arguments, **named)
        end()

    return call


def after_parquet(function: Call) -> Call:
    def call(path: Path, *arguments: Any, **named: Any) -> None:
        function(path, *arguments, **named)
        if path.suffix == ".parquet":
            end()

    return call


# Moment: where the function is, its name, and how it is changed.
MOMENTS: dict[str, tuple[Any, str, Callable[[Call], Call]]] = {
    "new file half written": (rewrite_module, "_next_rows", after),
    "new file written, not flushed": (rewrite_module, "new_file", before),
    "new files written": (sidecar_module, "store_removed", before),
    "what is taken out noted": (sidecar_module, "store_removed", after),
    "before the Delta commit": (table_module.DatasetTable, "rewrite", before),
    "after the Delta commit, not flushed": (LocalTable, "flush", before),
    "after the Delta commit, old files there": (table_module.DatasetTable, "rewrite", after),
    "one old file removed": (Path, "unlink", after_parquet),
    "old files removed": (LocalTable, "remove_empty_days", before),
    "swept": (maintenance_module.TableMaintenance, "sweep", after),
}


def odd(file: DataFile, fields: FieldsView) -> Any:
    return np.flatnonzero(np.array(pq.ParquetFile(file.location).read()["n"].to_pylist()) % 2)


def operate(lake: Lake, operation: str, bound_ns: int) -> None:
    """One step of maintenance, and the removal of what it took out."""
    match operation:
        case "compact":
            lake.compact(DATASET)
        case "trim":
            lake.trim(DATASET, bound_ns)
        case "delete":
            lake.delete_where(DATASET, odd)
        case "retention":
            lake._state.datasets[DATASET].maintenance.expire(bound_ns // 1000)
    lake.sweep(DATASET)


def interrupt(root: str, operation: str, moment: str, bound_ns: int) -> None:
    """Run the step in this process, which does not outlive the moment."""
    lake = Lake.open(Path(root), BY_HAND)
    place, name, change = MOMENTS[moment]
    setattr(place, name, change(getattr(place, name)))
    operate(lake, operation, bound_ns)


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                interrupt(*json.loads(line))
                code = 0
            finally:
                os._exit(code)  # nothing of the parent's is to be ended with it
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
