"""No input makes the native passes slow."""

from functools import partial

import pytest
from bench import native, worst

from tailrace.native.shredder import NativeShredder

LEAST = native.WORST_AIM / 3  # MB a CPU second: other work on the machine can make all of it twice as slow
ROUNDS = 3
BYTES = 500_000


@pytest.mark.costly
@pytest.mark.parametrize("name", worst.WORST)
def test_the_worst_inputs_are_passed_at_a_good_rate(name: str) -> None:
    first, *bodies = [worst.lines(name, seed, BYTES) for seed in range(3)]
    scanner = native.made_scanner()

    scanned, shredded = [], []
    for _ in range(ROUNDS):
        shredder = NativeShredder()
        native.shred(shredder, first)  # with which its tables and columns are made, once
        scanned.append(native.mb_per_cpu_s(bodies, lambda body: scanner.scan(body, is_array=False)))
        shredded.append(native.mb_per_cpu_s(bodies, partial(native.shred, shredder)))

    assert max(scanned) >= LEAST
    assert max(shredded) >= LEAST
