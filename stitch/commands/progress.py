"""Tells that a command still works, once it has worked for five seconds: a bar on a terminal, plain lines elsewhere.

On stderr, so that what a command prints can be read by another.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import click

AFTER_S = 5.0
Step = Callable[[int], None]  # told how much of the whole is done


@contextmanager
def progress(what: str, whole: int, clock: Callable[[], float] = time.monotonic) -> Iterator[Step]:
    """A function to be told how much is done. whole: how much there is; 0: not known."""
    began = said = clock()
    with ExitStack() as stack:
        bar: Any = None

        def step(done: int) -> None:
            nonlocal bar, said
            now = clock()
            if now - began < AFTER_S:
                return
            if whole and sys.stderr.isatty():
                bar = bar or stack.enter_context(click.progressbar(length=whole, label=what, file=sys.stderr))
                bar.update(done - bar.pos)
            elif now - said >= AFTER_S:
                said = now
                share = f"{100 * done // whole} %" if whole else f"{done}"
                click.echo(f"{what}: {share} after {now - began:.0f} s", err=True)

        yield step
