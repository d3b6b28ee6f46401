"""Expressions over DuckDB's lambdas: the elements of a list one by one, and a value that is computed once."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import sqlglot.expressions as exp

from tailrace.query.values.nodes import fn, list_value, number_node, text_node

_nesting = threading.local()


@contextmanager
def _parameter_depth() -> Iterator[int]:
    depth = getattr(_nesting, "depth", 0)
    _nesting.depth = depth + 1
    try:
        yield depth
    finally:
        _nesting.depth = depth


def list_transform(values: exp.Expr, body: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
    """Return a list of what `body` makes of each element."""
    return _over_elements("list_transform", values, body)


def list_filter(values: exp.Expr, condition: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
    """Return a list of the elements that meet a condition."""
    return _over_elements("list_filter", values, condition)


def _over_elements(function: str, values: exp.Expr, body: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
    with _parameter_depth() as depth:
        name = f"v{depth}"
        over_element = exp.Lambda(this=body(exp.column(name)), expressions=[exp.to_identifier(name)])
    return fn(function, values, over_element)


def bind(arguments: Sequence[exp.Expr], body: Callable[..., exp.Expr]) -> exp.Expr:
    """Return `body(*arguments)` where each argument is computed once, however often the body names it.

    Without it, expressions grow exponentially with the depth of the query's. The body may name columns besides, but no
    long expression.
    """
    if all(_is_simple(argument) for argument in arguments):
        return body(*arguments)
    long = [n for n, argument in enumerate(arguments) if not _is_simple(argument)]
    if len(long) == 1:
        source = arguments[long[0]]

        def with_computed(value: exp.Expr) -> exp.Expr:
            return body(*(value if n == long[0] else argument for n, argument in enumerate(arguments)))

    else:
        names = {n: f"a{n}" for n in long}
        pairs = [
            exp.PropertyEQ(this=exp.to_identifier(name), expression=arguments[n]) for n, name in names.items()
        ]  # fmt: skip
        source = exp.Struct(expressions=pairs)

        def with_computed(value: exp.Expr) -> exp.Expr:
            return body(
                *(
                    fn("struct_extract", value, text_node(names[n])) if n in names else argument
                    for n, argument in enumerate(arguments)
                )
            )

    return fn("list_extract", list_transform(list_value([source]), with_computed), number_node(1))


def opaque(value: exp.Expr, body: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
    """Return `body(value)`, where DuckDB does not see a constant: a constant regex that is none would fail the whole
    query.
    """
    return fn("list_extract", list_transform(list_value([value]), body), number_node(1))


def _is_simple(value: exp.Expr) -> bool:
    # epoch_us() costs less than a lambda, and DuckDB computes equal expressions once.
    while isinstance(value, (exp.Cast, exp.Paren, exp.Neg, exp.Anonymous)):
        if isinstance(value, exp.Anonymous):
            if value.this not in ("struct_extract", "epoch_us"):
                return False
            value = value.expressions[0]
        else:
            value = value.this
    return isinstance(value, (exp.Column, exp.Literal, exp.Null, exp.Boolean))


def attempt(value: exp.Expr) -> exp.Expr:
    """Return `TRY(value)`: null where it fails in a row. A block with one such row is slow: guard what fails often."""
    volatile = [node for node in value.find_all(exp.Anonymous) if node.this == "random"]
    if not volatile:
        return fn("try", value)
    # TRY refuses a volatile function, but not a parameter.
    with _parameter_depth() as depth:
        name = f"v{depth}"
        inner = value.transform(
            lambda node: exp.column(name) if isinstance(node, exp.Anonymous) and node.this == "random" else node
        )
        over_random = exp.Lambda(this=fn("try", inner), expressions=[exp.to_identifier(name)])
    return fn("list_extract", fn("list_transform", list_value([fn("random")]), over_random), number_node(1))
