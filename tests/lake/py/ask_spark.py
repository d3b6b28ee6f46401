"""Start a Spark server, run lines that ask it and name `events`, and print what those are."""

import json
import sys
from typing import Any

from pysail.spark import SparkConnectServer

task = json.load(sys.stdin)
server = SparkConnectServer("127.0.0.1", 0)
server.start(background=True)
_, port = server.listening_address
lines = task["lines"].replace("127.0.0.1:50051", f"127.0.0.1:{port}").replace("s3://bucket/tables/web", task["table"])
assert lines.endswith(".show()\n")
head, _, last = lines.rstrip().removesuffix(".show()").rpartition("\n")
names: dict[str, Any] = {}
exec(f"{head}\nshown = {last}", names)
events, shown = names["events"], names["shown"]
own = sorted(name for name in events.columns if not name.startswith("_"))
answer = {
    "shown": sorted([row[0], row[1]] for row in shown.collect()),
    "columns": events.columns,
    "rows": [list(row) for row in events.select(*[f"`{name}`" for name in own]).collect()],
}
json.dump(answer, sys.stdout)
names["spark"].stop()
server.stop()
