"""`python -m tests.histories 1000000`: as many histories of tests/unit/test_exactness.py, on all cores.

Hypothesis draws well and finds small examples, and takes three quarters of the time for it. Here it draws values for
each argument once; a history takes one of them at random, and each its own part of the rules, as hypothesis does. A
history that fails is told with its steps.
"""

from __future__ import annotations

import random
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any

import click
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.unit.test_exactness import Stitch

STEPS = 30
DRAWN = 120  # values of an argument
AT_ONCE = 1_000  # histories, between two lines of what was done


@cache
def values_of(strategy: st.SearchStrategy[Any]) -> list[Any]:
    """Values as hypothesis draws them, the same in every process: so the number of a history tells all of it."""
    found: list[Any] = []

    @settings(max_examples=DRAWN, derandomize=True, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(strategy)
    def keep(value: Any) -> None:
        found.append(value)

    keep()
    return found


def history(seed: int) -> list[str]:
    """Live through the history of this number; returns its steps. A failure has them as notes."""
    dice, machine, steps = random.Random(seed), Stitch(), list[str]()
    rules = [rule for rule in machine.rules if dice.random() < 0.7] or list(machine.rules)
    machine.begin(one_second=dice.random() < 0.5)
    try:
        for _ in range(STEPS):
            may = (rule for rule in shuffled(rules, dice) if all(holds(machine) for holds in rule.preconditions))
            rule = next(may, None)
            if not rule:
                break
            said = {name: dice.choice(values_of(strategy)) for name, strategy in sorted(rule.arguments.items())}
            steps.append(f"{rule.function.__name__} {said}")
            rule.function(machine, **said)
            machine.every_count_is_the_truth()
    except Exception as error:
        error.add_note("\n".join([f"history {seed}:", *steps]))
        raise
    return steps


def shuffled(rules: Sequence[Any], dice: random.Random) -> Iterator[Any]:
    """The rules in any order; as mostly the first will do, the rest is not shuffled."""
    left = list(rules)
    while left:
        at = int(dice.random() * len(left))
        left[at], left[-1] = left[-1], left[at]
        yield left.pop()


def live(first: int, count: int = AT_ONCE) -> tuple[int, list[str]]:
    """So many histories from this number on: how many steps they took, and what failed."""
    steps, failed = 0, []
    for seed in range(first, first + count):
        try:
            steps += len(history(seed))
        except Exception as error:
            failed.append("".join(traceback.format_exception(error)))
    return steps, failed


@click.command()
@click.argument("count", type=int)
@click.option("--first", default=0, show_default=True, help="the number of the first")
def main(count: int, first: int) -> None:
    """Live through COUNT histories, a multiple of 1,000; exit status 1 if any of them fails."""
    began, done, steps, failed = time.monotonic(), 0, 0, 0
    with ProcessPoolExecutor() as pool:
        for taken, failures in pool.map(live, range(first, first + count, AT_ONCE)):
            done, steps, failed = done + AT_ONCE, steps + taken, failed + len(failures)
            print(*failures[:1], sep="\n", end="")
            if done % 20_000 == 0 or done >= count:
                print(
                    f"{done:,} histories, {steps:,} steps, {failed} failed, {time.monotonic() - began:,.0f} s",
                    flush=True,
                )
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
