"""How large an expression is, and how long DuckDB takes to bind it."""

from collections.abc import Sequence

import sqlglot.expressions as exp

MAX_BINDING_DEPTH = 4
MAX_PARTS_NODES = 100


def is_shallow(node: exp.Expr) -> bool:
    """Whether more may be made around an expression before DuckDB would take long to bind it."""
    return _binding_depth(node) < MAX_BINDING_DEPTH


def are_small(nodes: Sequence[exp.Expr]) -> bool:
    """Whether expressions may be computed as often as they are read."""
    return sum(sum(1 for _ in node.walk()) for node in nodes) < MAX_PARTS_NODES and all(map(is_shallow, nodes))


def is_larger(node: exp.Expr, limit: int) -> bool:
    """Whether an expression has more nodes than that."""
    stack: list[object] = [node]
    count = 0
    while stack:
        inner = stack.pop()
        if isinstance(inner, exp.Expr):
            count += 1
            if count > limit:
                return True
            stack.extend(inner.args.values())
        elif isinstance(inner, list):
            stack.extend(inner)
    return False


def _binding_depth(node: exp.Expr) -> int:
    """Return how many of what DuckDB binds in exponential time stand inside of each other: lambdas, and NULLIF."""
    deepest = 0
    stack: list[tuple[object, int]] = [(node, 0)]
    while stack:
        inner, depth = stack.pop()
        if isinstance(inner, exp.Expr):
            depth += isinstance(inner, exp.Lambda) or (isinstance(inner, exp.Anonymous) and inner.this == "nullif")
            deepest = max(deepest, depth)
            stack += [(argument, depth) for argument in inner.args.values()]
        elif isinstance(inner, list):
            stack += [(item, depth) for item in inner]
    return deepest
