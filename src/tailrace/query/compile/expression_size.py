"""How large an expression is, and how long DuckDB takes to bind it."""

import sqlglot.expressions as exp


def binding_depth(node: exp.Expr) -> int:
    """How many of what DuckDB binds in exponential time stand inside of each other: lambdas, and NULLIF."""
    deepest = 0
    stack: list[tuple[object, int]] = [(node, 0)]
    while stack:
        each_, depth = stack.pop()
        if isinstance(each_, exp.Expr):
            depth += isinstance(each_, exp.Lambda) or (isinstance(each_, exp.Anonymous) and each_.this == "nullif")
            deepest = max(deepest, depth)
            stack += [(inner, depth) for inner in each_.args.values()]
        elif isinstance(each_, list):
            stack += [(inner, depth) for inner in each_]
    return deepest


def node_count(node: exp.Expr) -> int:
    return sum(1 for _ in node.walk())
