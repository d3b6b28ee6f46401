"""SQL over datasets: fields by their paths, of whatever types, hot and committed."""

from collections.abc import Callable
from typing import Any

import pytest
from query.kit import Desk

from tailrace.events import DatasetNotFound, Forbidden, QueryFailed, QueryInvalid

EVENTS: list[dict[str, Any]] = [
    {"n": 1, "x": 1, "o": {"b": {"c": 10}}, "tags": [1, "two"]},
    {"n": 2, "x": "s2", "o": {"b": {"c": 20}}, "tags": []},
    {"n": 3, "x": 3.5, "o": {"b": {"c": 30}}, "my key": "spaced"},
    {"n": 4, "x": True, "o": {"b": {"c": 40}}, "big": 2**70},
    {"n": 5, "x": {"deep": 1}, "o": {"b": {"c": 50}}, "huge": 2**53 + 1},
]


@pytest.fixture
def filled(desk: Desk) -> Desk:
    desk.put("demo", *EVENTS)
    desk.put("other.logs-1", {"n": 2, "name": "two"}, {"n": 9, "name": "nine"})
    return desk


def test_a_field_of_several_types_keeps_each_rows_own(filled: Desk) -> None:
    assert [repr(x) for x in filled.column("SELECT x FROM demo ORDER BY n")] == ["1", "'s2'", "3.5", "True", "None"]


def test_an_object_is_the_fields_inside_it(filled: Desk) -> None:
    assert filled.column('SELECT "x.deep" FROM demo WHERE n = 5') == [1]


def test_the_numbers_of_a_mixed_field_compare_as_numbers(filled: Desk) -> None:
    assert filled.column("SELECT n FROM demo WHERE x > 1.5") == [3]
    assert filled.column("SELECT n FROM demo WHERE x BETWEEN 1 AND 2") == [1]
    assert filled.column("SELECT n FROM demo WHERE 3 < x") == [3]


def test_the_texts_of_a_mixed_field_compare_as_texts(filled: Desk) -> None:
    assert filled.column("SELECT n FROM demo WHERE x = 's2'") == [2]
    assert filled.column("SELECT upper(x) FROM demo WHERE x LIKE 's%'") == ["S2"]


def test_a_mixed_field_may_be_compared_with_both(filled: Desk) -> None:
    assert filled.column("SELECT n FROM demo WHERE x IN (1, 's2') ORDER BY n") == [1, 2]


def test_aggregates_take_the_numbers_of_a_mixed_field(filled: Desk) -> None:
    assert filled.ask("SELECT sum(x) AS s, max(x + 1) AS m, count(x) AS c FROM demo") == [{"s": 4.5, "m": 4.5, "c": 4}]


def test_a_mixed_field_groups_by_value(filled: Desk) -> None:
    filled.put("demo", {"n": 6, "x": 1}, {"n": 7, "x": "s2"})

    assert sorted(filled.column("SELECT count(*) FROM demo GROUP BY x")) == [1, 1, 1, 2, 2]


def test_a_column_keeps_its_name_when_it_is_read_as_a_number(filled: Desk) -> None:
    assert filled.ask("SELECT x FROM demo WHERE x > 3") == [{"x": 3.5}]
    assert list(filled.ask("SELECT avg(x) FROM demo")[0]) == ["avg(x)"]


@pytest.mark.parametrize("name", ['"o.b.c"', "o.b.c", "demo.o.b.c", 'd."o.b.c"', 'demo."o.b.c"'])
def test_nested_fields_are_named_with_dots(filled: Desk, name: str) -> None:
    table = "demo d" if name.startswith("d.") else "demo"

    assert filled.column(f"SELECT {name} FROM {table} ORDER BY n") == [10, 20, 30, 40, 50]


def test_a_field_without_a_column_is_found_in_the_rest(filled: Desk) -> None:
    assert filled.column('SELECT "my key" FROM demo WHERE "my key" IS NOT NULL') == ["spaced"]


def test_integers_beyond_64_bits_come_back_digit_by_digit(filled: Desk) -> None:
    assert filled.column("SELECT big FROM demo WHERE n = 4") == [2**70]


def test_integers_beyond_a_double_are_exact(filled: Desk) -> None:
    assert filled.column("SELECT huge FROM demo WHERE n = 5") == [2**53 + 1]
    assert filled.column(f"SELECT huge FROM demo WHERE huge = {2**53 + 1}") == [2**53 + 1]


def test_a_name_that_differs_only_in_case_is_found(filled: Desk) -> None:
    assert filled.ask("SELECT N FROM DEMO WHERE n = 1") == [{"N": 1}]


def test_fields_that_differ_only_in_case_are_two_fields(desk: Desk) -> None:
    desk.put("d", {"id": 1, "a": 1, "A": "one"}, {"id": 2, "a": 2, "A": "two"})

    assert desk.ask('SELECT a, "A" FROM d ORDER BY id') == [{"a": 1, "A": "one"}, {"a": 2, "A": "two"}]
    assert desk.column("SELECT id FROM d WHERE \"A\" = 'two' AND a = 2") == [2]


def test_a_field_may_be_called_like_a_column_of_the_system(desk: Desk) -> None:
    desk.put("d", {"_TIME": "mine", "_day": 3})

    assert desk.ask('SELECT "_TIME", _day FROM d') == [{"_TIME": "mine", "_day": 3}]


def test_datasets_join(filled: Desk) -> None:
    assert filled.ask('SELECT d.n, o.name FROM demo d JOIN "other.logs-1" o ON d.n = o.n') == [{"n": 2, "name": "two"}]
    assert filled.ask('SELECT name FROM demo JOIN "other.logs-1" USING (n)') == [{"name": "two"}]


def test_a_dotted_dataset_name_may_go_without_quotes_where_sql_allows_it(filled: Desk) -> None:
    filled.put("a.b", {"n": 1})

    assert filled.column("SELECT count(*) FROM a.b") == [1]


def test_a_cte_may_shadow_a_dataset(filled: Desk) -> None:
    sql = "WITH demo AS (SELECT n FROM demo WHERE n > 3) SELECT n FROM demo ORDER BY n"

    assert filled.column(sql) == [4, 5]


def test_a_cte_may_be_recursive(filled: Desk) -> None:
    sql = "WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t WHERE i < 3) SELECT count(*) FROM t, demo"

    assert filled.column(sql) == [15]


def test_sub_queries_may_be_correlated(filled: Desk) -> None:
    exists = 'SELECT n FROM demo WHERE EXISTS (SELECT 1 FROM "other.logs-1" o WHERE o.n = demo.n)'
    scalar = 'SELECT (SELECT max(name) FROM "other.logs-1" o WHERE o.n = demo.n) AS name FROM demo WHERE n = 2'

    assert filled.column(exists) == [2]
    assert filled.column(scalar) == ["two"]


def test_a_star_gives_every_column_and_the_rest(filled: Desk) -> None:
    [row] = filled.ask("SELECT * FROM demo WHERE n = 3")

    assert row["x"] == 3.5
    assert row["o.b.c"] == 30
    assert row["_rest"] == {"my key": "spaced"}
    assert row["_time"] == "2026-05-28T20:26:40.002Z"


def test_stars_may_exclude_and_replace(filled: Desk) -> None:
    assert "n" not in filled.ask("SELECT * EXCLUDE (n) FROM demo LIMIT 1")[0]
    assert filled.ask("SELECT * REPLACE (n + 1 AS n) FROM demo ORDER BY n LIMIT 1")[0]["n"] == 2
    assert filled.column("SELECT COLUMNS('^n$') FROM demo ORDER BY n LIMIT 1") == [1]


def test_a_tables_name_is_its_row(filled: Desk) -> None:
    assert filled.column("SELECT demo FROM demo WHERE n = 2")[0]["o.b.c"] == 20


def test_arrays_are_json(filled: Desk) -> None:
    assert filled.column("SELECT tags FROM demo WHERE n = 1") == [[1, "two"]]
    assert filled.column("SELECT tags->>1 FROM demo WHERE n = 1") == ["two"]
    assert filled.column("SELECT list(tags) FROM demo WHERE n < 3") == [[[1, "two"], []]]


def test_a_lambdas_parameter_is_no_field(filled: Desk) -> None:
    assert filled.column("SELECT list_transform([1, 2], x -> x + 1) FROM demo LIMIT 1") == [[2, 3]]
    assert filled.column("SELECT list_transform([1, 2], lambda x: x + 1) FROM demo LIMIT 1") == [[2, 3]]
    assert filled.column("SELECT [x + 1 FOR x IN [1, 2]] FROM demo LIMIT 1") == [[2, 3]]


def test_order_by_means_the_alias(filled: Desk) -> None:
    assert filled.column("SELECT -n AS x FROM demo ORDER BY x + 0") == [-5, -4, -3, -2, -1]


def test_a_field_may_be_called_like_a_view_of_another(desk: Desk) -> None:
    desk.put("d", {"x": 1, "x#number": "own"}, {"x": "s", "x#number": "other"})

    assert desk.ask('SELECT x, "x#number" FROM d WHERE x > 0') == [{"x": 1, "x#number": "own"}]
    assert desk.ask('SELECT "x#number", x FROM d WHERE x > 0') == [{"x#number": "own", "x": 1}]


def test_a_window_orders_by_the_field(filled: Desk) -> None:
    sql = "SELECT n, 0 AS o, row_number() OVER (ORDER BY n DESC) AS n2 FROM demo ORDER BY n LIMIT 1"

    assert filled.ask(sql) == [{"n": 1, "o": 0, "n2": 5}]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT n FROM demo QUALIFY row_number() OVER (ORDER BY n DESC) = 1", [5]),
        ("FROM demo SELECT n ORDER BY n LIMIT 1", [1]),
        ("SELECT n FROM demo UNION ALL SELECT 7 ORDER BY n DESC LIMIT 1", [7]),
        ("SELECT count(*) FROM (SELECT DISTINCT n % 2 FROM demo)", [2]),
        ("SELECT sum(v) FROM (VALUES (1), (2)) t(v)", [3]),
        ("SELECT l FROM demo, LATERAL (SELECT n * 2 AS l) ORDER BY l LIMIT 1", [2]),
        ("SELECT max(i) FROM range(10) t(i)", [9]),
        ("SELECT * FROM unnest([3])", [3]),
        ("SELECT max(n) FROM demo TABLESAMPLE 100%", [5]),
        ("SELECT n -- the number\nFROM demo /* all */ WHERE n = 1 -- end", [1]),
        ("SELECT sum(n) FILTER (WHERE n > 3) FROM demo", [9]),
        ("SELECT n FROM demo WHERE n = 2 AND x IS NOT NULL;", [2]),
    ],
)
def test_a_select_may_be(filled: Desk, sql: str, expected: list[Any]) -> None:
    assert filled.column(sql) == expected


def test_pivots_are_read_from_a_dataset(filled: Desk) -> None:
    [row] = filled.ask("SELECT * FROM (SELECT n FROM demo) PIVOT (count(*) FOR n IN (1, 2))")

    assert row == {"1": 1, "2": 1}


QUESTIONS = (
    "SELECT * FROM d ORDER BY _time",
    "SELECT n, x FROM d WHERE x > 2 ORDER BY n",
    "SELECT x, count(*) AS c FROM d GROUP BY x ORDER BY c, x",
    'SELECT "my key", "o.b.c" FROM d ORDER BY n',
    "SELECT count(*) FROM d",
)


def fill_hot(desk: Desk) -> None:
    desk.put("d", *EVENTS)


def fill_committed(desk: Desk) -> None:
    desk.put("d", *EVENTS)
    desk.lake.commit_now()


def fill_both(desk: Desk) -> None:
    desk.put("d", *EVENTS)
    desk.lake.commit_now()
    desk.put("d", *EVENTS)


@pytest.mark.parametrize("question", QUESTIONS)
def test_hot_and_committed_give_the_same_answer(open_desk: Callable[..., Desk], question: str) -> None:
    hot, committed = open_desk(), open_desk()
    fill_hot(hot)
    fill_committed(committed)

    assert hot.ask(question) == committed.ask(question)


def test_half_of_each_is_one_dataset(desk: Desk) -> None:
    fill_both(desk)

    assert desk.column("SELECT count(*) FROM d") == [10]
    assert desk.column("SELECT sum(n) FROM d WHERE x = 's2'") == [4]
    assert sorted(desk.column('SELECT "my key" FROM d WHERE "my key" IS NOT NULL')) == ["spaced", "spaced"]


def test_a_column_that_came_later_is_null_before(desk: Desk) -> None:
    desk.put("d", {"a": 1})
    desk.lake.commit_now()
    desk.put("d", {"b": 2})

    assert desk.ask("SELECT a, b FROM d ORDER BY a NULLS LAST") == [{"a": 1, "b": None}, {"a": None, "b": 2}]


def test_an_empty_dataset_has_no_rows(desk: Desk) -> None:
    desk.lake.create("empty")

    assert desk.ask("SELECT * FROM empty") == []
    assert desk.column("SELECT count(*) FROM empty") == [0]


def test_an_unknown_dataset_comes_with_a_suggestion(filled: Desk) -> None:
    with pytest.raises(DatasetNotFound, match="did you mean 'demo'"):
        filled.run("SELECT * FROM demos")


def test_an_unknown_field_comes_with_a_suggestion(filled: Desk) -> None:
    filled.put("demo", {"status": 1})

    with pytest.raises(QueryInvalid, match=r"no event of demo has a field 'statsu' so far; did you mean 'status'"):
        filled.run("SELECT statsu FROM demo")


def test_a_syntax_error_says_where(filled: Desk) -> None:
    with pytest.raises(QueryInvalid, match="line 1, column"):
        filled.run("SELECT n FROM demo WHERE (n = 1")


def only(*names: str) -> Callable[[str], None]:
    def check(dataset: str) -> None:
        if dataset not in names:
            raise Forbidden(f"not {dataset}")

    return check


@pytest.mark.parametrize(
    "sql",
    [
        'SELECT * FROM "other.logs-1"',
        'SELECT * FROM other."logs-1"',
        'SELECT * FROM "OTHER.LOGS-1"',
        'SELECT n FROM demo WHERE n IN (SELECT n FROM "other.logs-1")',
        'WITH demo AS (SELECT * FROM "other.logs-1") SELECT * FROM demo',
        'SELECT demo.n FROM "other.logs-1" demo',
        'SELECT 1 ORDER BY (SELECT max(n) FROM "other.logs-1")',
        'SELECT n FROM demo LIMIT (SELECT max(n) FROM "other.logs-1")',
        'SELECT n FROM demo, LATERAL (SELECT name FROM "other.logs-1") l',
        'SELECT n FROM demo QUALIFY row_number() OVER (ORDER BY (SELECT max(n) FROM "other.logs-1")) = 1',
        "SELECT * FROM unknown",
    ],
)
def test_a_dataset_that_may_not_be_read_is_forbidden(filled: Desk, sql: str) -> None:
    with pytest.raises(Forbidden):
        filled.run(sql, check=only("demo"))


def test_suggestions_do_not_tell_of_datasets_that_may_not_be_read(filled: Desk) -> None:
    with pytest.raises(Forbidden) as caught:
        filled.run('SELECT * FROM "other.logs-2"', check=only("demo"))

    assert "other.logs-1" not in caught.value.message


def test_whole_numbers_beside_texts_keep_their_digits(desk: Desk) -> None:
    desk.put("ids", {"id": 1234567890123456788}, {"id": 1234567890123456789}, {"id": "guest"})

    assert desk.ask("SELECT max(id) AS a, sum(id - 1234567890123456780) AS b FROM ids WHERE id > 1") == [
        {"a": 1234567890123456789, "b": 17}
    ]
    assert desk.column("SELECT id % 10 AS r FROM ids ORDER BY r") == [8, 9, None]
    assert desk.column("SELECT count(*) FROM ids WHERE id = 1234567890123456789") == [1]


WIDE: list[Any] = [2**53 + 1, 0.5, 2**53, 3, 2.0]


@pytest.fixture
def wide(desk: Desk) -> Desk:
    """Whole numbers that no double holds beside reals, in `m` alone, in `s` with a text."""
    for name, values in {"m": WIDE, "s": [*WIDE, "x"]}.items():
        desk.put(name, *[{"k": k, "a": value} for k, value in enumerate(values)], {"k": 9})
    return desk


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT k FROM {} ORDER BY a",
        "SELECT k, a FROM {} ORDER BY 2",
        "SELECT k, a AS b FROM {} ORDER BY b",
        "SELECT k FROM (SELECT k, row_number() OVER (ORDER BY a) AS r FROM {}) ORDER BY r",
        "SELECT any_value(k) AS k, a FROM {} GROUP BY a ORDER BY a",
        "SELECT any_value(k) AS k, a AS b FROM {} GROUP BY b ORDER BY 2",
        "SELECT DISTINCT ON (a) k, a FROM {} ORDER BY a",
        "SELECT k, a FROM {} QUALIFY row_number() OVER (ORDER BY a) > 0 ORDER BY a",
        "SELECT unnest(list(k ORDER BY a)) FROM {}",
    ],
)
def test_numbers_of_both_types_are_sorted_by_value_and_before_texts(wide: Desk, sql: str) -> None:
    assert wide.column(sql.format("m")) == [1, 4, 3, 2, 0, 9]
    assert wide.column(sql.format("s")) == [1, 4, 3, 2, 0, 5, 9]


def test_order_by_takes_directions_nulls_and_limits_on_such_a_field(wide: Desk) -> None:
    assert wide.column("SELECT a FROM s ORDER BY a DESC NULLS LAST LIMIT 3") == ["x", 2**53 + 1, 2**53]
    assert wide.column("SELECT a FROM s ORDER BY 1 NULLS FIRST LIMIT 2") == [None, 0.5]
    assert wide.column("SELECT a FROM m ORDER BY ALL LIMIT 2 OFFSET 3") == [2**53, 2**53 + 1]
    assert wide.column("SELECT DISTINCT a FROM s ORDER BY a LIMIT 3") == [0.5, 2, 3]


@pytest.mark.parametrize("dataset", ["m", "s"])
@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("a = 9007199254740993", [0]),
        ("a > 9007199254740992", [0]),
        ("a >= 9007199254740992", [0, 2]),
        ("9007199254740993 > a", [1, 2, 3, 4]),
        ("a IN (9007199254740993, 2)", [0, 4]),
        ("a IN (9007199254740993, 'y')", [0]),
        ("a NOT IN (9007199254740993)", [1, 2, 3, 4]),
        ("a BETWEEN 9007199254740993 AND 9007199254740993", [0]),
        ("a = CAST(9007199254740993 AS HUGEINT)", [0]),
        ("a = (SELECT max(k) - 6 FROM m)", [3]),
        ("a IN (SELECT CAST(9007199254740993 AS BIGINT))", [0]),
        ("a = k", [3]),
        ("a < 2.5", [1, 4]),
    ],
)
def test_whole_numbers_compare_by_every_digit(wide: Desk, dataset: str, condition: str, expected: list[int]) -> None:
    assert wide.column(f"SELECT k FROM {dataset} WHERE {condition} ORDER BY k") == expected


@pytest.mark.parametrize(("dataset", "number"), [("m", 5), ("s", 6)])
def test_such_a_field_is_counted_grouped_and_joined_by_value(wide: Desk, dataset: str, number: int) -> None:
    wide.put(dataset, {"k": 7, "a": 3.0})  # in the group of 3

    assert wide.column(f"SELECT count(DISTINCT a) FROM {dataset}") == [number]
    assert wide.column(f"SELECT count(*) AS n FROM {dataset} GROUP BY a HAVING count(*) > 1") == [2]
    assert wide.column(f"SELECT k FROM {dataset} WHERE a = 3 ORDER BY k") == [3, 7]
    assert wide.column(f"SELECT count(*) FROM {dataset} x JOIN m y ON x.a = y.a WHERE y.k < 4") == [5]
    assert wide.column(f"SELECT max(count(*)) OVER (PARTITION BY 1) AS n FROM {dataset} GROUP BY a LIMIT 1") == [2]


def test_the_largest_value_comes_with_every_digit(wide: Desk) -> None:
    assert wide.ask("SELECT max(a) AS a, min(a) AS b, arg_max(k, a) AS c FROM m") == [
        {"a": 2**53 + 1, "b": 0.5, "c": 0}
    ]
    assert wide.column("SELECT max(a) FROM s WHERE a > 0") == [2**53 + 1]
    assert wide.column("SELECT max(a) FROM m GROUP BY k % 2 ORDER BY max(a)") == [3, 2**53 + 1]


@pytest.mark.parametrize(
    "sql", ["SELECT a + 1 FROM m", "SELECT a FROM (SELECT a FROM m)", "SELECT coalesce(a, 0) FROM m"]
)
def test_what_would_lose_digits_is_refused_with_what_to_write(wide: Desk, sql: str) -> None:
    with pytest.raises(QueryFailed, match=r"field 'a' .*TRY_CAST\(a AS HUGEINT\)"):
        wide.ask(sql)

    assert wide.column(sql + " WHERE k IN (1, 3)" if "(SELECT" not in sql else "SELECT k FROM m WHERE k = 1")
    assert wide.column("SELECT TRY_CAST(a AS HUGEINT) + 1 FROM m WHERE k = 0") == [2**53 + 2]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT b FROM (SELECT a AS b FROM s) ORDER BY b",
        "SELECT b FROM (SELECT a AS b FROM s) ORDER BY 1",
        "WITH c AS (SELECT * FROM s) SELECT k FROM c WHERE a > 2",
        "SELECT a FROM s UNION SELECT a FROM m ORDER BY a",
        "SELECT greatest(a, 2) FROM s",
        "SELECT a, count(*) FROM s GROUP BY a HAVING a > 2",
    ],
)
def test_what_would_compare_by_type_is_refused_with_what_to_write(wide: Desk, sql: str) -> None:
    with pytest.raises(QueryInvalid, match=r"field 'a' .*TRY_CAST\(a AS DOUBLE\)"):
        wide.ask(sql)


def test_a_star_has_no_columns_of_the_querys_own(wide: Desk) -> None:
    [row] = wide.ask("SELECT * FROM s WHERE a = 3 ORDER BY a")

    assert list(row) == ["_time", "_sysTime", "_rest", "a", "k"]


def test_whole_numbers_beside_texts_are_compared_in_a_sub_query(filled: Desk) -> None:
    filled.put("ids", {"id": 200}, {"id": 7}, {"id": "guest"})

    assert filled.column("SELECT count(*) FROM (SELECT id FROM ids) WHERE id = 200") == [1]
