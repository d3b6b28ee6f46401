"""The same values give the same answers in a column of one type, in a field of several types, far from any column, and
in parsed JSON.
"""

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from query.kit import Desk
from support.rounds import rounds

from tailrace.query import AplRequest, QueryLimits, run_apl
from tailrace.query.answers import cells
from tailrace.query.apl.errors import AplError

WHOLE = [1234567890123456788, 1234567890123456789, 9007199254740993, 7, -7, 3, 0, None, 2**63 - 1, -(2**63), 7]
REAL = [0.5, -2.25, 3.0, 1e21, 1.5, None, 0.5, 1234567.75, -0.125, 12.0, 7.5]
TEXT = ["alpha", "alpha beta", "", "10", "9", None, "Ω", 'q"\\', "alpha", "z", "7"]
FLAG = [True, False, None, True, True, False, False, None, True, False, True]
OTHERS: list[dict[str, Any]] = [
    {"w": "guest", "x": 0.25, "r": 5, "s": "no", "t": 12, "u": [1], "b": "yes", "c": 1},
    {"w": 0.75, "x": True, "r": "none", "s": 2**60 + 1, "t": False, "u": 1.5, "b": 0.5, "c": {}},
    {"w": [1], "x": "y", "r": [2], "s": False, "t": {}, "u": 10**30, "b": [], "c": "true"},
]
NAMES = "wxrstubc"


def turned(values: list[Any], by: int) -> list[Any]:
    return values[by:] + values[:by]


COLUMNS = {
    "w": WHOLE, "x": turned(WHOLE, 1), "r": REAL, "s": turned(REAL, 4), "t": TEXT, "u": turned(TEXT, 2), "b": FLAG,
    "c": turned(FLAG, 3),
}  # fmt: skip
EVENTS: list[dict[str, Any]] = [
    {"k": n, **{name: values[n] for name, values in COLUMNS.items() if values[n] is not None}}
    for n in range(len(WHOLE))
]
SPREAD = [{"k": -1, "filler": n} for n in range(3000)]  # so many that what few events have gets no column
SPOILED = [{"k": -1, **other} for other in OTHERS]

SOURCES = {
    "mixed": "(mixed | where k >= 0)",
    "rare": "(rare | where k >= 0)",
    "scattered": "(scattered | where k >= 0)",
    "parsed": "(parsed | extend p = parse_json(j) | project k, " + ", ".join(f"{n} = p.{n}" for n in NAMES) + ")",
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    made = Desk(tmp_path_factory.mktemp("same"), QueryLimits())
    made.put("typed", *EVENTS)
    made.put("mixed", *EVENTS, *SPOILED)
    made.put("rare", *SPREAD, *EVENTS)
    made.put("scattered", *SPREAD, *EVENTS, *SPOILED)
    made.put("parsed", *[{"k": event["k"], "j": json.dumps(event)} for event in EVENTS])
    made.lake.commit_now()
    yield made
    made.close()


# The grammar: S stands for the source.

wholes_in = st.sampled_from(["w", "x", "k", "3", "-2", "1234567890123456789", "9007199254740992"])
reals_in = st.sampled_from(["r", "s", "0.5", "-2.25"])
texts_in = st.sampled_from(["t", "u", '"alpha"', '"10"'])
flags_in = st.sampled_from(["b", "c", "true"])
simple = st.one_of(wholes_in, reals_in, texts_in, flags_in)


def filled(template: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map(lambda found: template.format(*found))


def any_of(templates: dict[str, tuple[st.SearchStrategy[str], ...]]) -> st.SearchStrategy[str]:
    return st.one_of([filled(template, *parts) for template, parts in templates.items()])


signs = st.sampled_from(["+", "-", "*", "/", "%"])
orders = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
numbers_in = wholes_in | reals_in
conditions = any_of({
    "({} {} {})": (wholes_in, orders, numbers_in), "({0} {1} {2}) ": (reals_in, orders, numbers_in),
    "({} {} {})  ": (texts_in, orders, texts_in), "({} {} {})   ": (simple, st.sampled_from(["==", "!="]), simple),
    "isnull({})": (simple,), "isint({})": (numbers_in,), "isreal({})": (numbers_in,), "isstring({})": (simple,),
    "({} in ({}, {}, 7))": (wholes_in, wholes_in, wholes_in), "({} !in ({}, \"z\"))": (texts_in, texts_in),
    "({} in (0.5, {}))": (reals_in, reals_in), "({} between ({} .. {}))": (wholes_in, wholes_in, wholes_in),
    "tobool({})": (flags_in,), "({} and {})": (flags_in, flags_in), "not({})": (flags_in,),
    "({} has \"alpha\")": (texts_in,), "({} in~ (\"ALPHA\", {}))": (texts_in, texts_in),
})  # fmt: skip
wholes = wholes_in | any_of({
    "({} {} {})": (wholes_in, signs, wholes_in), "(-{})": (wholes_in,), "abs({})": (wholes_in,),
    "bin({}, 3)": (wholes_in,), "bin({}, {})": (wholes_in, st.just("x")), "min_of({}, {})": (wholes_in, wholes_in),
    "max_of({}, {})": (wholes_in, wholes_in), "iff({}, {}, {})": (conditions, wholes_in, wholes_in),
    "coalesce({}, {})": (wholes_in, wholes_in), "tolong({})": (simple,), "round({})": (wholes_in,),
    "floor({})": (wholes_in,), "sign({})": (wholes_in,),
    "({} {} {} {} {})": (wholes_in, signs, wholes_in, signs, wholes_in),
    "case({}, {}, {})": (conditions, wholes_in, wholes_in), "round({}, -2)": (wholes_in,),
})  # fmt: skip
reals = reals_in | any_of({
    "({} {} {})": (reals_in, signs, numbers_in), "({} {} {}) ": (numbers_in, signs, reals_in), "(-{})": (reals_in,),
    "abs({})": (reals_in,), "bin({}, 0.5)": (reals_in,), "max_of({}, {})": (reals_in, reals_in),
    "iff({}, {}, {})": (conditions, reals_in, reals_in), "toreal({})": (simple,), "ceiling({})": (reals_in,),
    "round({}, 1)": (reals_in,), "sqrt({})": (numbers_in,), "sign({})": (reals_in,), "exp2({})": (reals_in,),
})  # fmt: skip
texts = texts_in | any_of({
    "tostring({})": (simple,), "strcat({}, {})": (simple, texts_in), "toupper({})": (texts_in,),
    "iff({}, {}, {})": (conditions, texts_in, texts_in), "min_of({}, {})": (texts_in, texts_in),
    "coalesce({}, {})": (texts_in, texts_in), "strlen({})": (texts_in,),
})  # fmt: skip
expressions = st.one_of(wholes, reals, texts, conditions)

aggregates = any_of({
    "sum({})": (st.one_of(wholes, reals),), "avg({})": (st.one_of(wholes, reals),), "min({})": (expressions,),
    "max({})": (expressions,), "dcount({})": (expressions,), "make_set({})": (expressions,), "count()": (),
    "make_list({})": (st.just("k"),), "percentile({}, 50)": (st.one_of(wholes, reals),), "countif({})": (conditions,),
    "percentile({}, 90)": (st.one_of(wholes, reals),), "topk({}, 3)": (expressions,),
    "sumif({}, {})": (wholes, conditions),
    "stdev({})": (reals_in,), "variance({})": (reals_in,), "maxif({}, {})": (texts, conditions),
    "make_set_if({}, {})": (wholes, conditions),
})  # fmt: skip
queries = any_of({
    "S | project k, e = {}, f = {}": (expressions, expressions),
    "S | extend e = {} | project k, f = e, g = isnull(e), h = tostring(e)": (st.one_of(wholes, texts, conditions),),
    "S | where {} | summarize a = {}, b = {}": (conditions, aggregates, aggregates),
    "S | summarize a = {}, b = {} by g = {}": (aggregates, aggregates, expressions),
    "S | summarize a = {} by g = {}, h = {}": (aggregates, expressions, expressions),
    "S | distinct w, r, t | join kind=leftouter (S | where {}) on w, r | project w, r, t, k": (conditions,),
    "S | sort by {} asc, k asc | take 5 | project k": (expressions,),
    "S | sort by {} desc, k asc | take 5 | project k": (expressions,),
    "S | extend e = {} | join kind=inner (S | project j = k, e = {}) on e | project k, j": (wholes, wholes),
    "S | extend e = {} | join kind=inner (S | project j = k, e = {}) on e | project k, j ": (texts, texts),
    "S | extend e = {} | join kind=inner (S | project j = k, e = {}) on e | project k, j  ": (reals, reals),
    "S | where {} in ((S | project e = {})) | project k": (wholes, wholes),
    "S | where {} == toscalar(S | summarize max({})) | project k": (wholes_in, wholes_in),
    "S | summarize arg_max({}, k) by g = {}": (st.sampled_from("xw"), flags_in),
    "S | lookup (datatable(w: long, z: string)[7, 'a', 1234567890123456789, 'b']) on w | project k, z": (),
    "S | union (S | project w = r, k = k + 100) | where k > 50 or {} | summarize count() by k": (conditions,),
    "S | extend e = pack_array({}, {}) | mv-expand e to typeof(string) | project k, e": (wholes_in, texts_in),
})  # fmt: skip


def answer(desk: Desk, apl: str) -> list[str]:
    found = run_apl(desk.lake, desk.engine, AplRequest(apl=apl), check=lambda name: None).tables[0]
    listed = [list(column) for column in cells.columns(found)]
    return sorted(json.dumps([plain(cell) for cell in row]) for row in zip(*listed, strict=True))


def plain(cell: Any) -> Any:
    """Return a cell as JSON means it: 1.0 is 1; of a double twelve digits, as sums depend on the order of the rows.

    A group of a field of several types is shown as the whole number that equals it, so a large whole number that a
    double can be counts as one.
    """
    if isinstance(cell, bytes | memoryview) or type(cell).__name__ == "Raw":
        cell = json.loads(bytes(cell))
    if isinstance(cell, list):
        return [plain(each) for each in cell]
    if isinstance(cell, dict):
        return {key: plain(each) for key, each in cell.items()}
    if isinstance(cell, float):
        if not math.isfinite(cell):
            return None
        return int(cell) if cell.is_integer() and abs(cell) < 2**53 else float(f"{cell:.12g}")
    if isinstance(cell, int) and abs(cell) >= 2**53 and float(cell) == cell:
        return float(f"{float(cell):.12g}")
    return cell


@pytest.mark.rounds
@given(queries)
@example("S | where w == x or k < 3 | summarize a = max(w), b = dcount(r) by g = bin(w, 3)")
@settings(max_examples=rounds(30), deadline=None, suppress_health_check=list(HealthCheck))
def test_the_same_values_give_the_same_answer_wherever_they_are(desk: Desk, query: str) -> None:
    try:
        wanted = answer(desk, query.replace("S", "(typed | where k >= 0)"))
    except AplError:
        return
    for name, source in SOURCES.items():
        assert (name, answer(desk, query.replace("S", source))) == (name, wanted)
