"""A query gives the same answer in parts as in one piece, whether what they answer is gathered or divided by keys; what
is not asked in parts says why.
"""

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from query.golden_kit import Case, all_cases, shown
from query.kit import T0_NS
from query.spread.kit import BesideSpreader
from support.events import batch

from tailrace.events import TailraceError
from tailrace.events.sizes import GIB
from tailrace.lake import Lake, LakeSettings, table_root
from tailrace.query import AplRequest, AplResult, DuckDB, QueryLimits, run_apl
from tailrace.query.apl.times import datetime_ns
from tailrace.query.engines.spreader import Spreader
from tailrace.query.spread.ask import NOT_SPREAD, PARTLY_SPREAD

NOW_NS = datetime_ns("2026-03-02T12:00:00Z")
ROWS, FILES = 3000, 6
FLOAT_TOLERANCE = 1e-12  # relative, of sums of floats, which parts add in another order


class TwoWays:
    """Asks in one piece and in parts."""

    def __init__(self, lake: Lake, root: Path, *, spread_bytes: int = 0) -> None:
        limits = QueryLimits(threads=1)
        self.lake = lake
        self.engine = DuckDB(table_root(lake.root), root / "one", limits)
        self.beside = DuckDB(table_root(lake.root), root / "parts", limits)
        self.counting = BesideSpreader(self.beside, spread_bytes=spread_bytes)
        self.spreader: Spreader = self.counting

    def use(self, spreader: Spreader) -> None:
        """Ask in parts by another spreader from now on."""
        self.spreader = spreader

    def ask(self, apl: str, *, in_parts: bool, divided: bool = False, **more: Any) -> AplResult:
        self.engine.spreader = self.spreader if in_parts else None
        self.spreader.gather_bytes = 0 if divided else GIB
        return run_apl(self.lake, self.engine, AplRequest(apl=apl, **more), check=lambda dataset: None)

    def texts(self, apl: str, *, divided: bool = False, **more: Any) -> list[str]:
        answers = []
        for in_parts in (False, True):
            try:
                result = self.ask(apl, in_parts=in_parts, divided=divided, **more)
                status = result.status
                counts = f"{status.rows_matched} of {status.rows_examined}"
                answers.append("\n".join([*map(shown, result.tables), counts]))
            except TailraceError as error:
                answers.append(f"error: {error.message}")
        return answers

    def parts(self, apl: str) -> int:
        before = self.counting.parts
        self.ask(apl, in_parts=True)
        return self.counting.parts - before

    def divided(self, apl: str) -> int:
        """Return of how many stages of a query the rows are divided."""
        before = self.counting.divided
        self.ask(apl, in_parts=True, divided=True)
        return self.counting.divided - before

    def close(self) -> None:
        self.engine.close()
        self.beside.close()


@pytest.fixture(scope="module")
def over_golden(golden: Lake, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoWays]:
    ways = TwoWays(golden, tmp_path_factory.mktemp("ways"))
    yield ways
    ways.close()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoWays]:
    root = tmp_path_factory.mktemp("many")
    lake = Lake.open(root / "lake", LakeSettings())
    lake.create("logs")
    chosen = random.Random(7)
    for number in range(FILES):
        events = [_event(chosen) for _ in range(ROWS // FILES)]
        times = np.array([T0_NS + chosen.randrange(10**10) * 1000 for _ in events], np.int64)
        lake.accept(number + 1, replace(batch(events, "logs"), times=times))
        if number < FILES - 1:
            lake.commit_now("logs")
    ways = TwoWays(lake, root)
    yield ways
    ways.close()
    lake.close(commit=False)


def _event(chosen: random.Random) -> dict[str, Any]:
    event: dict[str, Any] = {
        "host": f"h{chosen.randrange(7)}",
        "user": f"u{chosen.randrange(400)}",
        "ms": chosen.randrange(-5, 10**6),
        "big": chosen.randrange(2**60, 2**62),
        "load": chosen.uniform(-1e6, 1e9),
        "ok": chosen.random() < 0.5,
        "mixed": chosen.choice([1, 2.5, "x", True, {"a": [1, None]}]),
    }
    return {name: value for name, value in event.items() if chosen.random() < 0.9}


@pytest.mark.parametrize("case", all_cases()[5::32], ids=lambda case: case.name)
def test_a_golden_query_gives_the_same_answer_in_parts(over_golden: TwoWays, case: Case) -> None:
    in_one, in_parts = over_golden.texts(case.query, now_ns=NOW_NS)

    assert in_parts == in_one


@pytest.mark.parametrize("case", all_cases()[11::32], ids=lambda case: case.name)
def test_a_golden_query_gives_the_same_answer_of_buckets(over_golden: TwoWays, case: Case) -> None:
    in_one, of_buckets = over_golden.texts(case.query, divided=True, now_ns=NOW_NS)

    assert of_buckets == in_one


@pytest.mark.slow
@pytest.mark.parametrize("divided", [False, True], ids=["gathered", "divided"])
@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_every_golden_query_gives_the_same_answer_in_parts(over_golden: TwoWays, case: Case, divided: bool) -> None:
    in_one, in_parts = over_golden.texts(case.query, divided=divided, now_ns=NOW_NS)

    assert in_parts == in_one


EXACT = [
    "logs | where ms > 5000 | count",
    "logs | summarize count(), countif(ok), sum(ms), sumif(ms, ok), min(ms), max(host), maxif(ms, ok)",
    "logs | summarize dcount(user), dcountif(user, ok) by host",
    "logs | summarize sum(big), avg(ms) by host",
    "logs | summarize arg_max(ms, user, load), arg_min(load, *) by host",
    "logs | summarize make_set(user), make_set_if(host, ok), topk(user, 5), topkif(mixed, 3, ok) by host",
    "logs | summarize any(user), sum(mixed), min(mixed), max(mixed), dcount(mixed), make_set(mixed)",
    "logs | summarize count() by bin(_time, 30m), host | where count_ > 3",
    "logs | summarize n = count(), r = rate(ms) by bin_auto(_time)",
    "logs | make-series count() default = 0 on _time from datetime(2026-03-05) to datetime(2026-03-06) step 1h by ok",
    "logs | distinct host, ok",
    "logs | distinct *",
    "logs | top 7 by load",
    "logs | order by big asc | take 9 | project big, user",
    "logs | where user == 'u7'",
    "logs | take 5",
    "logs | where load < 0 | take 3 | extend twice = load * 2",
    "logs | summarize percentile(ms, 50), percentile(load, 99), percentileif(mixed, 50, ok) by host",
    "logs | where ok | summarize percentile(ms, 50), percentiles_array(load, 5, 95) by host",
    "logs | where ms < 90000 | join kind=inner (logs | summarize most = max(ms) by host) on host | count",
    "union logs, (logs | where ok) | summarize count(), sum(ms) by host",
    "logs | summarize by_user = count() by user | summarize max(by_user), count()",
    "logs | summarize phrases(user, 3), spotlight(ok, host)",
    "logs | summarize histogram(ms, 4)",
    "logs | where ok | summarize histogram(load, 3), histogramif(ms, 5, ms > 0) by host",
    "logs | summarize h = histogram(ms, 4) by user | extend n = toint(h[0].count) | summarize histogram(n, 3), count()",
    "logs | extend parts = split(user, 'u') | mv-expand parts to typeof(string) | summarize dcount(parts)",
]  # fmt: skip


@pytest.mark.parametrize("apl", EXACT)
def test_integers_texts_and_places_are_the_same_in_parts(many: TwoWays, apl: str) -> None:
    in_one, in_parts = many.texts(apl)
    _, of_buckets = many.texts(apl, divided=True)

    assert in_parts == in_one
    assert of_buckets == in_one
    assert many.parts(apl) > 1


DIVIDED = {
    "logs | summarize dcount(user), count() by host": 1,
    "logs | summarize percentile(ms, 50), percentile(load, 99) by host, ok": 1,
    "logs | summarize make_set(user), topk(user, 3), arg_max(ms, *) by host": 1,
    "logs | summarize count() by user | where count_ > 7 | top 5 by count_": 1,
    "logs | summarize count() by user | where user == 'none'": 1,
    "logs | summarize n = count(), dcount(host) by user | summarize max(n), count(), sum(dcount_host)": 1,
    "logs | summarize n = count() by user, host | summarize dcount(user), max(n) by host": 1,
    "logs | order by ms asc, _time asc | summarize make_list(user), count() by host": 1,
    "logs | order by ms asc, _time asc | where ok | summarize make_list(ms, 5), any(host) by user | top 3 by user": 1,
    "logs | distinct host, user | count": 1,
    "logs | summarize count() by mixed": 1,
    "logs | summarize dcount(user), sum(ms) by mixed = tostring(mixed), ok": 1,
    "logs | summarize dcount(user) by bin(_time, 1h)": 2,  # and the totals
    "logs | summarize dcount(user)": 1,
    "logs | where ms > 10 | summarize dcountif(user, ok), count(), sum(big), countif(ok), maxif(ms, ok), min(host)": 1,
    "logs | where isnull(user) | summarize dcount(user), sum(ms)": 1,
    "logs | where ms == -77 | summarize dcount(user), count(), max(ms)": 1,
    "logs | summarize dcount(user), dcount(host)": 0,
    "logs | summarize dcount(user), avg(ms)": 0,
    "logs | summarize percentile(ms, 50)": 0,
    "logs | join kind=inner (logs | where ok) on user | count": 1,
    "logs | where ms < 200000 | join kind=leftouter (logs | where ok | project user, other = ms) on user"
    " | summarize count(), sum(other), dcount(host) by host": 1,
    "logs | where ms < 20000 | join kind=fullouter (logs | where ms > 980000) on user | order by ms asc, ms1 asc, user"
    " asc | project user, ms, ms1 | take 50": 2,  # and of how many there are
    "logs | join kind=leftanti (logs | where ms < 300000) on user | summarize count() by user": 1,
    "logs | join kind=rightsemi (logs | where ms > 900000) on user, host | summarize sum(ms), count()": 1,
    "logs | join kind=innerunique (logs | where ok) on mixed | summarize count() by host": 1,
    "logs | join kind=inner (logs) on $left.ms == $right.big | count": 1,
    "logs | where isnull(user) | join kind=leftanti (logs | where isnull(user)) on user | count": 1,
    "logs | join kind=leftouter (logs | where ms > 990000) on user, ok | summarize count(), sum(ms1) by host": 1,
    "logs | join kind=rightouter (logs | where ms > 990000) on user, ok | summarize count(), sum(ms) by ok": 1,
    "logs | where ok | join (logs | summarize most = max(ms) by host) on host | count": 1,
    "union (logs | summarize n = count() by host), (logs | summarize n = dcount(user) by host) | summarize sum(n)": 2,
}  # fmt: skip


@pytest.mark.parametrize("apl", DIVIDED)
def test_what_is_made_of_buckets_is_the_same(many: TwoWays, apl: str) -> None:
    in_one, of_buckets = many.texts(apl, divided=True)

    assert of_buckets == in_one
    assert many.divided(apl) == DIVIDED[apl]


def test_what_is_small_is_gathered(many: TwoWays) -> None:
    before = many.counting.divided

    many.ask("logs | summarize percentile(ms, 50) by host", in_parts=True)

    assert many.counting.divided == before


FLOATS = [
    "logs | summarize avg(big) by host",  # of integers beyond what a double has
    "logs | summarize sum(load), avg(load), sumif(load, ok), avgif(load, ms > 10)",
    "logs | summarize stdev(load), variance(ms), stdevif(big, ok), varianceif(load, ms < 0)",
    "logs | summarize sum(load), stdev(ms) by host",
    "logs | summarize avg(load), variance(load) by user",
]


@pytest.mark.parametrize("apl", FLOATS)
def test_sums_of_floats_are_the_same_but_for_the_order_of_adding(many: TwoWays, apl: str) -> None:
    in_one, in_parts = (_by_group(many.ask(apl, in_parts=each)) for each in (False, True))

    assert many.parts(apl) > 1
    assert in_parts.keys() == in_one.keys()
    for group, values in in_one.items():
        for one, parts in zip(values, in_parts[group], strict=True):
            assert math.isclose(parts, one, rel_tol=FLOAT_TOLERANCE)


def _by_group(result: AplResult) -> dict[Any, list[float]]:
    rows = [list(row.values()) for row in result.tables[0].rows.to_pylist()]
    return {row[0] if isinstance(row[0], str | None) else "": [v for v in row if isinstance(v, float)] for row in rows}


@pytest.mark.parametrize(
    ("apl", "reason"),
    [
        ("logs | order by ms asc | summarize make_list(user)", "needs all rows of a group at once"),
        ("logs | where user in ((logs | where ms > 990000 | project user)) | count", "needs other rows beside each"),
        (
            "logs | join kind=inner (datatable (user: string) ['u7']) on user | count",
            "all of its rows are wanted at once",
        ),
    ],
)
def test_what_is_not_asked_in_parts_says_why(many: TwoWays, apl: str, reason: str) -> None:
    messages = [message.msg for message in many.ask(apl, in_parts=True).status.messages]

    assert [text for text in messages if text.startswith(NOT_SPREAD) and reason in text]


def test_a_query_of_which_a_part_is_not_asked_in_parts_says_why(many: TwoWays) -> None:
    apl = "logs | join kind=inner (logs | summarize most = max(ms) by host) on host | count"
    messages = [message.msg for message in many.ask(apl, in_parts=True).status.messages]

    assert f"{PARTLY_SPREAD}: all of its rows are wanted at once" in messages
    assert not [text for text in messages if text.startswith(NOT_SPREAD)]


def test_a_query_that_is_asked_in_parts_says_nothing(many: TwoWays) -> None:
    for apl in ["logs | summarize count() by bin(_time, 1h), host | take 2", *EXACT, *DIVIDED]:
        messages = [message.msg for message in many.ask(apl, in_parts=True).status.messages]
        assert not [text for text in messages if text.startswith((NOT_SPREAD, PARTLY_SPREAD))], apl


def test_a_small_query_is_asked_in_one_piece(golden: Lake, tmp_path: Path) -> None:
    ways = TwoWays(golden, tmp_path, spread_bytes=10**9)

    assert ways.parts("['http-logs'] | where id > 3 | count") == 0
    assert ways.parts("['http-logs'] | order by id asc | summarize make_list(id)") == 0
    messages = ways.ask("['http-logs'] | order by id asc | summarize make_list(id)", in_parts=True).status.messages
    ways.close()

    assert not [message for message in messages if message.msg.startswith(NOT_SPREAD)]


def test_metadata_answers_without_parts(many: TwoWays) -> None:
    assert many.parts("logs | summarize min(_time), max(_time)") == 0
