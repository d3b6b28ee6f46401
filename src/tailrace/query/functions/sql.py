"""Functions of SQL statements, as logs of databases have them."""

from typing import Any

import sqlglot
import sqlglot.expressions as exp
from sqlglot.errors import SqlglotError

from tailrace.query.functions.table import table
from tailrace.query.functions.udf import udf
from tailrace.query.values import DYNAMIC, STRING

FUNCTIONS, _add = table("sql")

MAX_SQL_CHARACTERS = 10_000  # longer statements are null: parsing takes about a millisecond for a thousand


@udf("apl_parse_sql", [STRING], DYNAMIC)
def _parse_sql(text: str) -> dict[str, Any] | None:
    if len(text) > MAX_SQL_CHARACTERS:
        return None
    try:
        statement = sqlglot.parse_one(text)
    except SqlglotError as error:
        raise ValueError(str(error)) from error
    if statement.find(exp.With, exp.Window):
        return None
    match statement:
        case exp.Select():
            return _select(statement)
        case exp.Insert():
            return _insert(statement)
        case exp.Update():
            return {
                "statement": "update",
                "tables": _tables(statement),
                "set": {each.this.sql(): each.expression.sql() for each in statement.expressions},
                "where": _clause(statement, "where"),
            }
        case exp.Delete():
            return {"statement": "delete", "tables": _tables(statement), "where": _clause(statement, "where")}
    return None


def _tables(statement: exp.Expr) -> list[str]:
    found = (
        exp.Table(**{k: t.args.get(k) for k in ("this", "db", "catalog")}).sql() for t in statement.find_all(exp.Table)
    )
    return list(dict.fromkeys(found))


def _clause(statement: exp.Expr, name: str) -> str | None:
    node = statement.args.get(name)
    return node.this.sql() if node is not None else None


def _list(statement: exp.Expr, name: str) -> list[str]:
    node = statement.args.get(name)
    return [each.sql() for each in node.expressions] if node is not None else []


def _select(statement: exp.Select) -> dict[str, Any]:
    source = statement.args.get("from_") or statement.args.get("from")
    limit, offset = statement.args.get("limit"), statement.args.get("offset")
    return {
        "statement": "select",
        "distinct": statement.args.get("distinct") is not None,
        "columns": [each.sql() for each in statement.expressions],
        "from": source.this.sql() if source is not None else None,
        "tables": _tables(statement),
        "joins": [each.sql().strip() for each in statement.args.get("joins") or ()],
        "where": _clause(statement, "where"),
        "group_by": _list(statement, "group"),
        "having": _clause(statement, "having"),
        "order_by": _list(statement, "order"),
        "limit": limit.expression.sql() if isinstance(limit, exp.Limit) else None,
        "offset": offset.expression.sql() if offset is not None else None,
    }


def _insert(statement: exp.Insert) -> dict[str, Any]:
    target, source = statement.this, statement.expression
    columns = [each.sql() for each in target.expressions] if isinstance(target, exp.Schema) else []
    rows = (
        [[cell.sql() for cell in row.expressions] for row in source.expressions]
        if isinstance(source, exp.Values)
        else []
    )
    return {
        "statement": "insert",
        "tables": [(target.this if isinstance(target, exp.Schema) else target).sql()],
        "columns": columns,
        "values": rows,
        "query": source.sql() if isinstance(source, exp.Query) and not rows else None,
    }


@udf("apl_format_sql", [DYNAMIC], STRING)
def _format_sql(model: Any) -> str | None:
    if not isinstance(model, dict):
        return None
    parts = {key: value for key, value in model.items() if value not in (None, [], "")}
    table = parts["tables"][0] if parts.get("tables") else ""
    where = f" WHERE {parts['where']}" if "where" in parts else ""
    match parts.get("statement"):
        case "select":
            return _formatted_select(parts)
        case "insert":
            columns = f" ({', '.join(parts['columns'])})" if "columns" in parts else ""
            rows = ", ".join(f"({', '.join(row)})" for row in parts.get("values", ()))
            return f"INSERT INTO {table}{columns} " + (f"VALUES {rows}" if rows else str(parts["query"]))
        case "update":
            sets = ", ".join(f"{key} = {value}" for key, value in parts["set"].items())
            return f"UPDATE {table} SET {sets}{where}"
        case "delete":
            return f"DELETE FROM {table}{where}"
    return None


def _formatted_select(parts: dict[str, Any]) -> str:
    made = "SELECT " + ("DISTINCT " if parts.get("distinct") else "") + ", ".join(parts.get("columns", ["*"]))
    if "from" in parts:
        made += f" FROM {parts['from']}"
    for join in parts.get("joins", ()):
        made += join if join.startswith(",") else f" {join}"
    for key, words in (("where", "WHERE"), ("group_by", "GROUP BY"), ("having", "HAVING"), ("order_by", "ORDER BY"),
                       ("limit", "LIMIT"), ("offset", "OFFSET")):  # fmt: skip
        if key in parts:
            value = parts[key]
            made += f" {words} {', '.join(value) if isinstance(value, list) else value}"
    return made


# fmt: off
_add("parse_sql", "text:text", DYNAMIC, lambda c, text: _parse_sql(text),
     "The parts of a simple SQL statement; null for one with common table expressions or window functions, or none.",
     "print parse_sql(\"SELECT id FROM users WHERE age > 21\")[\"where\"]", "age > 21")
_add("format_sql", "model:dynamic", STRING, lambda c, model: _format_sql(model),
     "The SQL statement of the parts that parse_sql() gives.",
     "print format_sql(parse_sql(\"select  id from users where age > 21\"))", "SELECT id FROM users WHERE age > 21")
# fmt: on
