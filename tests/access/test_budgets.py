"""Budgets of tokens: what is counted, for whom, until when."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from tailrace.access import Budget, BudgetSpent, Grant, Usage
from tailrace.access.budget import checked_budget
from tailrace.access.budgets import Budgets
from tailrace.events import BadRequest
from tailrace.storage.database import Database

NOON_S = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()


def grant(budget: Budget | None, token: str = "t") -> Grant:
    return Grant(token, "api", "u", "o", budget=budget, sender=token)


def test_what_is_taken_counts_until_the_day_ends(database: Database) -> None:
    now_s = NOON_S
    budgets = Budgets(database, lambda: now_s)
    holder, other = grant(Budget(rows_per_day=100, seconds_per_day=2.5)), grant(Budget(rows_per_day=1), "other")
    budgets.check(holder)
    budgets.spend(holder, Usage(rows=60, bytes=7, seconds=1))
    budgets.check(holder)
    budgets.spend(holder, Usage(rows=60))

    assert budgets.state(holder).used == Usage(120, 7, 1)
    assert budgets.state(holder).left == {"rows": 0, "seconds": 1.5}
    with pytest.raises(BudgetSpent) as spent:
        budgets.check(holder)
    assert spent.value.message == (
        "the budget of this token for today is spent: left are 0 rows of answers, 2 seconds of queries; "
        "it renews at 2026-02-01T00:00:00Z"
    )
    assert (spent.value.status, spent.value.retry_after_s) == (429, 12 * 3600 + 1)
    budgets.check(other)

    now_s += 12 * 3600
    budgets.check(holder)
    assert budgets.state(holder).used == Usage()
    budgets.spend(holder, Usage(rows=1))
    assert budgets.state(holder).used == Usage(rows=1)


def test_several_that_count_at_once_lose_nothing(database: Database) -> None:
    holder = grant(Budget(rows_per_day=1))
    several = [Budgets(database, lambda: NOON_S) for _ in range(4)]

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: several[number % 4].spend(holder, Usage(rows=1)), range(40)))

    assert several[0].state(holder).used.rows == 40


def test_a_token_without_a_budget_costs_the_database_nothing(database: Database) -> None:
    budgets = Budgets(database)
    database.close()

    budgets.check(grant(None))
    budgets.spend(grant(None), Usage(rows=1))
    assert budgets.state(grant(None)).left == {}


@pytest.mark.parametrize(
    "given", [{"rowsPerDay": -1}, {"rowsPerDay": "1"}, {"rows": 1}, [5], 5, {"secondsPerDay": 1e300}]
)
def test_what_is_no_budget_is_refused(given: object) -> None:
    with pytest.raises(BadRequest, match="rowsPerDay, bytesPerDay, secondsPerDay"):
        checked_budget(given)
