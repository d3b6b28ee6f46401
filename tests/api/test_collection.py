"""What resources do alike."""

import re

import pytest

from tailrace.access import Grant
from tailrace.api.collection import new_id, require_on
from tailrace.events import Forbidden, NotFound


def grant(**datasets: list[str]) -> Grant:
    held = {name: {"virtualFields": actions} for name, actions in datasets.items()}
    return Grant(token_id="t", kind="api", user_id="u", organisation="tailrace", datasets=held)


def ask(who: Grant, action: str, dataset: str) -> None:
    require_on(who, capability="virtualFields", action=action, dataset=dataset, missing="not here")


def test_what_a_token_may_not_read_is_not_found_whatever_else_it_may() -> None:
    for action in ("read", "update"):
        with pytest.raises(NotFound, match="not here"):
            ask(grant(demo=["update"]), action, "demo")


def test_what_a_token_may_only_read_is_forbidden_to_change() -> None:
    ask(grant(demo=["read"]), "read", "demo")
    with pytest.raises(Forbidden, match="virtualFields:update"):
        ask(grant(demo=["read"]), "update", "demo")


def test_what_is_of_no_dataset_takes_the_right_on_every_one() -> None:
    ask(grant(**{"*": ["read"]}), "read", "")
    with pytest.raises(NotFound):
        ask(grant(demo=["read"]), "read", "")


def test_an_id_has_its_prefix_and_is_new() -> None:
    made = {new_id("ann_") for _ in range(100)}

    assert len(made) == 100
    assert all(re.fullmatch("ann_[A-Za-z0-9]{20}", each) for each in made)
