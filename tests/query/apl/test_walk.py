"""Every node of an expression is met once, in its order, and any of them can be another in a copy."""

import pytest

from tailrace.query.apl import tree
from tailrace.query.apl.parser import parse_expression
from tailrace.query.apl.walk import has_subquery, transform, walk


def names(text: str, *, but: tuple[type[tree.Node], ...] = ()) -> list[str]:
    return [node.name for node in walk(parse_expression(text), but=but) if isinstance(node, tree.Name)]


@pytest.mark.parametrize(
    "text",
    [
        "a + b * c",
        "-a == (b + c)",
        "a between (b .. c)",
        "a in (b, c)",
        "f(a, b, g(c))",
        "a[b] + c",
        "a.x has b and c",
        "a in ((logs | where b + c > 1))",
    ],
)
def test_all_nodes_are_met_in_their_order(text: str) -> None:
    assert names(text) == ["a", "b", "c"]


def test_what_is_left_out_is_not_gone_into() -> None:
    assert names("a in ((logs | where c > 1)) and d", but=(tree.Subquery,)) == ["a", "d"]


def test_a_copy_has_what_nodes_become() -> None:
    def renamed(node: tree.Expression) -> tree.Expression | None:
        return tree.Name(node.at, f"{node.name}1") if isinstance(node, tree.Name) else None

    node = parse_expression("f(a, b[c]) == d.x")
    changed = transform(node, renamed)

    assert [inner.name for inner in walk(changed) if isinstance(inner, tree.Name)] == ["a1", "b1", "c1", "d1"]
    assert names("f(a, b[c]) == d.x") == ["a", "b", "c", "d"]


def test_a_subquery_is_found_wherever_it_stands() -> None:
    assert has_subquery(parse_expression("1 + toscalar(logs | count) > 2"))
    assert not has_subquery(parse_expression("a in (1, 2)"))
