"""What a query may touch: its syntax tree, as DuckDB itself parses it, holds nothing but what is listed here.

DuckDB can open no file but those of tables, nor change its settings, but of the tables one is as near as another. So
the text that will run is parsed by DuckDB's own parser (which no other parser's reading can contradict), and each node
of the tree must be of a known kind, each table a source of the plan or a CTE in sight, each function one that only
computes.
"""

import difflib
from collections.abc import Collection, Iterable
from typing import Any

import duckdb
import msgspec

from tailrace.events import QueryInvalid

TABLE_FUNCTIONS = frozenset({"range", "generate_series", "unnest"})
MAX_NESTED_LAMBDAS = 8  # binding takes exponential time in them
MAX_SIZE_ARGUMENT = 10_000  # of a function that makes a value of a given size, outside of the memory limit

_EXPRESSIONS = frozenset(
    {"BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "FUNCTION", "LAMBDA",
     "OPERATOR", "POSITIONAL_REFERENCE", "STAR", "SUBQUERY", "TYPE", "WINDOW"}
)  # fmt: skip
_CLAUSES = frozenset(
    {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE",
     "BASE_TABLE", "SUBQUERY", "JOIN", "TABLE_FUNCTION", "EXPRESSION_LIST", "EMPTY", "PIVOT",
     "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "DISTINCT_MODIFIER", "ORDER_MODIFIER",
     "ORDER_DEFAULT", "ASCENDING", "DESCENDING"}
)  # fmt: skip
_FUNCTION_KINDS = ("scalar", "aggregate", "macro", "window")
_FORBIDDEN_FUNCTIONS = frozenset(
    # with effects, or with a view of the server's state
    {"current_connection_id", "current_query", "current_query_id", "current_setting", "current_transaction_id",
     "currval", "getenv", "getvariable", "hive_partition_component", "in_search_path", "nextval",
     "parse_duckdb_log_message", "setseed", "setval", "sleep_ms", "stats", "txid_current", "write_log",
     # that run or show SQL
     "json_deserialize_sql", "json_serialize_plan", "json_serialize_sql", "query", "query_table",
     # that take memory as it lies, or make types by name
     "cast_to_type", "combine", "combine_aggr", "create_sort_key", "finalize", "get_type", "index_key", "make_type",
     "remap_struct", "replace_type", "to_aggregate_state", "variant_bytes_to_variant", "variant_to_parquet_variant",
     "vector_type",
     # of quadratic time in one call, which cannot be interrupted
     "damerau_levenshtein", "editdist3", "levenshtein"}
)  # fmt: skip
_FORBIDDEN_PREFIXES = ("__internal", "has_", "inet_", "pg_", "st_")
_FORBIDDEN_TYPES = frozenset(
    {"variant", "geometry", "aggregate_state"}
)  # a deep JSON cast to a VARIANT ends the process
_SIZE_ARGUMENTS = {"repeat": (1,), "lpad": (1,), "rpad": (1,), "list_resize": (1,), "array_resize": (1,),
                   "bitstring": (1,), "range": (0, 1, 2), "generate_series": (0, 1, 2)}  # fmt: skip
_FORMATTING = frozenset({"format", "printf"})

Names = frozenset[str]


def functions(connection: duckdb.DuckDBPyConnection) -> Names:
    """Return the functions that a query may call: those of DuckDB that only compute."""
    kinds = ", ".join(f"'{kind}'" for kind in _FUNCTION_KINDS)
    rows = connection.execute(f"SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type IN ({kinds})")
    names = {str(name).lower() for (name,) in rows.fetchall()} | {"unnest"}
    return frozenset(name for name in names if not _is_forbidden(name))


def check(connection: duckdb.DuckDBPyConnection, text: str, *, sources: Collection[str], functions: Names) -> None:
    """Raise QueryInvalid unless `text` is one SELECT that reads nothing but `sources`."""
    [serialized] = connection.execute("SELECT json_serialize_sql($text)", {"text": text}).fetchall()
    try:
        tree = msgspec.json.decode(serialized[0])
    except RecursionError as error:
        raise QueryInvalid("SQL: the statement is nested too deeply") from error
    if tree["error"]:
        raise QueryInvalid(f"SQL: {tree['error_message']}")
    if len(tree["statements"]) != 1:
        raise QueryInvalid(f"SQL: one statement is expected, {len(tree['statements'])} were sent")
    _SyntaxWalk(frozenset(sources), functions).walk(tree["statements"][0])


class _SyntaxWalk:
    def __init__(self, sources: Names, functions: Names) -> None:
        self._sources = sources
        self._functions = functions
        self._waiting: list[tuple[Any, Names, int]] = []

    def walk(self, tree: Any) -> None:
        """Visit every node with the CTEs in its sight and the number of lambdas around it."""
        self._waiting.append((tree, frozenset(), 0))
        while self._waiting:
            node, visible, lambdas = self._waiting.pop()
            if isinstance(node, list):
                self._waiting += [(child, visible, lambdas) for child in node]
            elif isinstance(node, dict):
                self._node(node, visible, lambdas)

    def _node(self, node: dict[str, Any], visible: Names, lambdas: int) -> None:
        kind = node.get("type")
        if "class" in node:
            self._expression(node)
            lambdas += node["class"] == "LAMBDA"
            if lambdas > MAX_NESTED_LAMBDAS:
                raise QueryInvalid(f"SQL: more than {MAX_NESTED_LAMBDAS} lambdas are nested")
        elif isinstance(kind, str):
            if kind not in _CLAUSES:
                raise QueryInvalid(f"SQL: {kind.removesuffix('_NODE').removesuffix('_REF')} is not allowed here")
            if kind == "BASE_TABLE":
                self._table(node, visible)
            elif kind == "TABLE_FUNCTION":
                self._table_function(node["function"])
                node = {"arguments": node["function"]["arguments"]}  # as a scalar function it has other rules
        for cte in node.get("cte_map", {}).get("map", ()):
            # A CTE sees those before it, and itself if it is recursive.
            own = visible | {cte["key"].lower()}
            recursive = cte["value"]["query_node"]["type"] == "RECURSIVE_CTE_NODE"
            self._waiting.append((cte["value"], own if recursive else visible, lambdas))
            visible = own
        self._waiting += [
            (value, visible, lambdas)
            for key, value in node.items()
            if key != "cte_map" and isinstance(value, (dict, list))
        ]

    def _table(self, node: dict[str, Any], visible: Names) -> None:
        path = node["qualified_name"]["path"]
        if len(path) == 1 and node["at_clause"] is None and (path[0] in self._sources or path[0].lower() in visible):
            return
        raise QueryInvalid(f"SQL: {'.'.join(path)[:80]!r} cannot be read from here; tables are datasets and CTEs")

    def _table_function(self, node: dict[str, Any]) -> None:
        if node.get("class") != "FUNCTION" or node["qualified_name"]["path"] not in [
            [name] for name in TABLE_FUNCTIONS
        ]:
            name = ".".join(node["qualified_name"]["path"]) if "qualified_name" in node else "this"
            raise QueryInvalid(
                f"SQL: {name[:80]} cannot be read from: tables are datasets, and of the table functions there are "
                f"{', '.join(sorted(TABLE_FUNCTIONS))}"
            )

    def _expression(self, node: dict[str, Any]) -> None:
        kind = node["class"]
        if kind == "PARAMETER":
            raise QueryInvalid("SQL: parameters, such as ? and $1, cannot be bound: write the values into the SQL")
        if kind not in _EXPRESSIONS:
            raise QueryInvalid(f"SQL: {kind} is not allowed here")
        if kind in ("FUNCTION", "WINDOW"):
            self._function(node)
        elif kind == "TYPE" and node["type_name"].lower() in _FORBIDDEN_TYPES:
            raise QueryInvalid(f"SQL: the type {node['type_name']} is not allowed")

    def _function(self, node: dict[str, Any]) -> None:
        name = node["function_name"].lower()
        # `field.lower()` has the field before the name; a schema would too, but there is only `main`.
        if name not in self._functions:
            if _is_forbidden(name):
                raise QueryInvalid(f"SQL: the function {name} is not allowed")
            near = difflib.get_close_matches(name, self._functions, 1)
            raise QueryInvalid(
                f"SQL: there is no function {name[:80]!r}" + (f"; did you mean {near[0]!r}?" if near else "")
            )
        arguments = [argument["expression"] for argument in node["arguments"]]
        if name in _FORMATTING and not _is_plain_format(arguments):
            raise QueryInvalid(f"SQL: the format of {name} must be a literal with widths below 1000")
        for size in _at(arguments, _SIZE_ARGUMENTS.get(name, ())):
            if not _is_small(size):
                raise QueryInvalid(
                    f"SQL: the size given to {name} must be a literal number of at most {MAX_SIZE_ARGUMENT}"
                    + (f" (FROM {name}(…) has no such limit)" if name in TABLE_FUNCTIONS else "")
                )


def _is_forbidden(name: str) -> bool:
    return name in _FORBIDDEN_FUNCTIONS or name.startswith(_FORBIDDEN_PREFIXES)


def _at(arguments: list[dict[str, Any]], positions: Iterable[int]) -> list[dict[str, Any]]:
    return [arguments[position] for position in positions if position < len(arguments)]


def _literal(node: dict[str, Any], kind: str) -> str | None:
    literal = node["literal"] if node["class"] == "CONSTANT" else {}
    return literal["text"] if literal.get("kind") == kind else None


def _is_small(node: dict[str, Any]) -> bool:
    text = _literal(node, "INTEGER")
    return text is not None and abs(int(text)) <= MAX_SIZE_ARGUMENT


def _is_plain_format(arguments: list[dict[str, Any]]) -> bool:
    """Whether a format is a literal whose widths are written in it, with three digits at most."""
    text = _literal(arguments[0], "STRING") if arguments else None
    if text is None:
        return False
    digits = 0
    inside = False
    for character in text:
        digits = digits + 1 if character.isdigit() else 0
        if digits > 3 or character == "*" or (character == "{" and inside):
            return False
        inside = (inside or character == "{") and character != "}"
    return True
