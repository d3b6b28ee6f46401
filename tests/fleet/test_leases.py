"""Leases: one holder at a time by the database, a fence that rises; a node believes for less than they last."""

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fleet import SetClock, let_pass
from support.rounds import rounds

from tailrace.fleet.leases import Lease, LeaseHolder, Leases
from tailrace.storage.database import Database

LEASE_S = 100.0


def leases_of(database: Database, node: str, clock: SetClock | None = None) -> Leases:
    return Leases(database, node, lease_s=LEASE_S, clock=clock)


def test_a_lease_is_one_nodes_until_it_lapses_and_its_fence_rises_with_every_holder(database: Database) -> None:
    a, b = leases_of(database, "a"), leases_of(database, "b")

    assert a.take(["x", "y"]).keys() == {"x", "y"}
    assert b.take(["x", "y", "z"]).keys() == {"z"}
    let_pass(database, LEASE_S)

    assert {lease.name: lease.fence for lease in b.take(["x"]).values()} == {"x": 2}
    assert a.holders() == {
        "x": LeaseHolder("b", 2, is_live=True),
        "y": LeaseHolder("a", 1, is_live=False),
        "z": LeaseHolder("b", 1, is_live=False),
    }


def test_a_renewed_lease_lasts_its_time_anew(database: Database) -> None:
    a, b = leases_of(database, "a"), leases_of(database, "b")
    held = a.take(["x"])
    for _ in range(3):
        let_pass(database, 0.6 * LEASE_S)
        held = a.renew(held.values())
        assert held.keys() == {"x"}
        assert not b.take(["x"])
    assert held["x"].fence == 1


def test_a_lapsed_lease_that_nobody_took_is_renewed_with_its_fence(database: Database) -> None:
    a = leases_of(database, "a")
    held = a.take(["x"])
    let_pass(database, 3 * LEASE_S)

    assert a.renew(held.values())["x"].fence == 1
    assert a.holders()["x"].is_live


def test_what_another_node_took_is_neither_renewed_nor_released(database: Database) -> None:
    a, b = leases_of(database, "a"), leases_of(database, "b")
    stale = a.take(["x"])
    let_pass(database, LEASE_S)
    b.take(["x"])

    assert a.renew(stale.values()) == {}
    a.release(stale.values())
    assert a.holders()["x"] == LeaseHolder("b", 2, is_live=True)


def test_what_was_given_up_is_free_at_once(database: Database) -> None:
    a, b = leases_of(database, "a"), leases_of(database, "b")
    a.release(a.take(["x"]).values())

    assert b.take(["x"])["x"].fence == 2


def test_a_process_takes_over_what_a_former_one_of_its_node_had(database: Database) -> None:
    former, now = leases_of(database, "a"), leases_of(database, "a")
    stale = former.take(["x"])

    assert now.take(["x"])["x"].fence == 2
    assert former.renew(stale.values()) == {}


def test_a_lease_is_believed_for_less_than_it_lasts_from_before_it_was_asked_for(database: Database) -> None:
    clock = SetClock()
    lease = leases_of(database, "a", clock).take(["x"])["x"]
    leases = leases_of(database, "a", clock)

    assert lease.sent == clock.read()
    clock.advance(0.79 * LEASE_S)
    assert leases.is_believed(lease)
    clock.advance(0.02 * LEASE_S)
    assert not leases.is_believed(lease)


def test_the_clock_that_shows_more_time_counts(database: Database) -> None:
    suspended, set_back = SetClock(), SetClock()
    for clock, advance in ((suspended, "wall_s"), (set_back, "monotonic_s")):
        leases = leases_of(database, "a", clock)
        lease = leases.take([advance])[advance]
        setattr(clock, advance, getattr(clock, advance) + LEASE_S)
        assert not leases.is_believed(lease)


def test_of_nodes_that_race_for_leases_one_has_each(location: Path | str) -> None:
    names = [f"shard-{number:02}" for number in range(8)]
    taken: list[dict[str, Lease]] = []
    with Database.open(location) as one, Database.open(location) as other:

        def race(database: Database, node: str) -> None:
            taken.append(leases_of(database, node).take(names if len(node) % 2 else reversed(names)))

        run_all([partial(race, one if n % 2 else other, "n" * (n + 1)) for n in range(8)])

        assert sorted(name for held in taken for name in held) == names
        assert {lease.fence for held in taken for lease in held.values()} == {1}


def test_of_nodes_that_race_with_a_late_renewal_one_has_each(location: Path | str) -> None:
    names = [f"shard-{number:02}" for number in range(8)]
    with Database.open(location) as one, Database.open(location) as other:
        a, b = leases_of(one, "a"), leases_of(other, "b")
        held = a.take(names)
        for _ in range(rounds(10)):
            let_pass(one, 2 * LEASE_S)
            renewed: dict[str, Lease] = {}
            taken: dict[str, Lease] = {}
            run_all(
                [partial(note, renewed, partial(a.renew, held.values())), partial(note, taken, partial(b.take, names))]
            )
            assert sorted([*renewed, *taken]) == names
            holders = a.holders()
            assert all(holders[name].node == "a" for name in renewed)
            assert all(holders[name].node == "b" for name in taken)
            b.release(taken.values())
            held = {**renewed, **a.take(names)}


def note(results: dict[str, Lease], call: Callable[[], dict[str, Lease]]) -> None:
    results.update(call())


def run_all(actions: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=action) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "renew", "release", "lapse"]), st.sampled_from("abc"), st.sets(st.sampled_from("xyz"))
    ),
    max_size=20,
)


@given(steps=STEPS)
@settings(max_examples=rounds(20))
def test_whatever_nodes_do_each_lease_has_one_live_holder_with_the_highest_fence(
    steps: list[tuple[str, str, set[str]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Database.open(tmp_path_factory.mktemp("leases") / "tailrace.db") as database:
        nodes = {name: leases_of(database, name) for name in "abc"}
        held: dict[str, dict[str, Lease]] = {name: {} for name in "abc"}  # as each believes
        model: dict[str, tuple[str, int, bool]] = {}  # by lease: node, fence, whether it is live
        for step, node, names in steps:
            mine = {name: lease for name, lease in held[node].items() if name in names}
            if step == "take":
                wanted = names - held[node].keys()
                got = nodes[node].take(wanted)
                for name in wanted:
                    holder, fence, is_live = model.get(name, ("", 0, False))
                    if is_live and holder != node:
                        assert name not in got
                    else:
                        assert got[name].fence == fence + 1
                        model[name] = (node, fence + 1, True)
                held[node].update(got)
            elif step == "renew":
                got = nodes[node].renew(mine.values())
                assert got.keys() == {name for name, lease in mine.items() if model[name][:2] == (node, lease.fence)}
                for name in mine.keys() - got.keys():
                    del held[node][name]
                model.update({name: (node, lease.fence, True) for name, lease in got.items()})
            elif step == "release":
                nodes[node].release(mine.values())
                for name, lease in mine.items():
                    del held[node][name]
                    if model[name][:2] == (node, lease.fence):
                        model[name] = (node, lease.fence, False)
            else:
                let_pass(database, LEASE_S)
                model = {name: (holder, fence, False) for name, (holder, fence, _) in model.items()}
            assert nodes[node].holders() == {name: LeaseHolder(*state) for name, state in model.items()}
