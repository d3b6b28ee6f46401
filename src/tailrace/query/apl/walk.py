"""Ways through the tree of a query: all nodes inside of one, and a copy in which some are others."""

from collections.abc import Callable, Iterator
from typing import Any, cast

from msgspec.structs import replace

from tailrace.query.apl.tree import Expression, Node, Subquery


def children(node: Node) -> Iterator[Node]:
    """Yield the nodes directly inside of a node, in their order."""
    for name in node.__struct_fields__:
        value = getattr(node, name)
        if isinstance(value, Node):
            yield value
        elif isinstance(value, tuple):
            yield from (item for item in value if isinstance(item, Node))


def walk(node: Node, *, but: tuple[type[Node], ...] = ()) -> Iterator[Node]:
    """Yield a node and all inside of it, each before what is inside of it; nodes of the types `but` are left out."""
    stack = [node]
    while stack:
        node = stack.pop()
        if isinstance(node, but):
            continue
        yield node
        stack.extend(reversed(list(children(node))))


def transform(node: Expression, change: Callable[[Expression], Expression | None]) -> Expression:
    """Return an expression in which nodes are what `change` makes of them; where that is None it goes into the node."""
    changed = change(node)
    if changed is not None:
        return changed
    fields: dict[str, Any] = {}
    for name in node.__struct_fields__:
        value = getattr(node, name)
        if isinstance(value, Node):
            fields[name] = transform(cast(Expression, value), change)
        elif isinstance(value, tuple):
            items = (transform(cast(Expression, item), change) if isinstance(item, Node) else item for item in value)
            fields[name] = tuple(items)
    return replace(node, **fields) if fields else node


def has_subquery(node: Node) -> bool:
    """Whether a query stands anywhere within an expression."""
    return any(isinstance(inner, Subquery) for inner in walk(node))
