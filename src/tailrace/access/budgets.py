"""What the queries of tokens with a budget took, and what is left to them today."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct
from sqlalchemy import case, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from tailrace.access.budget import Budget
from tailrace.access.capabilities import Grant
from tailrace.events import TailraceError
from tailrace.storage.database import Database
from tailrace.storage.tables import token_usage

ATTEMPTS = 3  # to count, where another process does so for the first time, too


class Usage(Struct, frozen=True):
    """What the queries of a token took on one day."""

    rows: float = 0.0
    bytes: float = 0.0
    seconds: float = 0.0


class BudgetState(Struct, frozen=True, rename="camel"):
    """The budget of a token, what of it is used, and what is left until it renews."""

    budget: Budget
    used: Usage
    left: dict[str, float]  # rows, bytes, seconds: of those that have a budget
    renews_at: str  # RFC 3339, UTC


class BudgetSpent(TailraceError):
    """The budget of a token is spent until the next day."""

    status = 429
    code = "budget_spent"
    retryable = True


class Budgets:
    """The use of tokens that have a budget, in the database. Thread-safe.

    A token that was regenerated has the use of the one that it stands for. A query that begins within the budget is
    answered whole, and what it took past it is not given back.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def check(self, grant: Grant) -> None:
        """Raise BudgetSpent where nothing is left of a token's budget."""
        if grant.budget is None:
            return
        state = self.state(grant)
        spent = [name for name, amount in state.left.items() if amount <= 0]
        if spent:
            of = {"rows": "rows of answers", "bytes": "bytes of answers", "seconds": "seconds of queries"}
            left = ", ".join(f"{amount:,.0f} {of[name]}" for name, amount in state.left.items())
            wait_s = datetime.fromisoformat(state.renews_at).timestamp() - self._clock()
            raise BudgetSpent(
                f"the budget of this token for today is spent: left are {left}; it renews at {state.renews_at}",
                retry_after_s=max(int(wait_s) + 1, 1),
            )

    def state(self, grant: Grant) -> BudgetState:
        """Return the budget of a token, and its use today."""
        budget = grant.budget or Budget()
        used = self._used(grant.sender) if grant.budget is not None else Usage()
        most = {"rows": budget.rows_per_day, "bytes": budget.bytes_per_day, "seconds": budget.seconds_per_day}
        taken = {"rows": used.rows, "bytes": used.bytes, "seconds": used.seconds}
        left = {name: max(amount - taken[name], 0.0) for name, amount in most.items() if amount is not None}
        tomorrow = self._now().replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        return BudgetState(budget, used, left, tomorrow.strftime("%Y-%m-%dT%H:%M:%SZ"))

    def spend(self, grant: Grant, usage: Usage) -> None:
        """Count what a query took, where the token has a budget."""
        if grant.budget is None:
            return
        amounts = {"rows": usage.rows, "bytes": usage.bytes, "seconds": usage.seconds}
        for attempt in range(ATTEMPTS):
            try:
                self._add(grant.sender, amounts)
                return
            except IntegrityError:
                if attempt + 1 == ATTEMPTS:
                    raise

    def _add(self, token: str, amounts: Mapping[str, float]) -> None:
        today = self._today()
        is_today = token_usage.c.day == today
        values: dict[str, Any] = {
            name: case((is_today, token_usage.c[name] + amount), else_=amount) for name, amount in amounts.items()
        }
        with self._database.changing() as connection:
            one = token_usage.c.token == token
            if not connection.execute(update(token_usage).where(one).values(day=today, **values)).rowcount:
                connection.execute(insert(token_usage).values(token=token, day=today, **amounts))
                connection.execute(delete(token_usage).where(token_usage.c.day < today))  # of tokens that are gone, too

    def _used(self, token: str) -> Usage:
        query = select(token_usage).where(token_usage.c.token == token, token_usage.c.day == self._today())
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        return Usage() if row is None else Usage(row.rows, row.bytes, row.seconds)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    def _today(self) -> str:
        return self._now().strftime("%Y-%m-%d")
