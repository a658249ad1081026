"""`stitch init --sample`: the settings file guessed from events, and what was guessed, tried on the same events."""

from __future__ import annotations

import itertools
import re
from datetime import UTC, datetime
from pathlib import Path

import click

from stitch.buckets import micros
from stitch.commands.try_events import decided, lines, opened, summed_up
from stitch.notes import write_note
from stitch.sample.guess import Guess, NoGuess, guess
from stitch.sample.profile import profile
from stitch.sample.written import settings_text
from stitch.settings import load_settings
from stitch.trying import Summary, outcomes

MOST = 20_000  # events that are looked at


def write_from_sample(sample: str, file: Path, topic: str | None) -> None:
    """Guess settings from the events of a file, write them into `file`, and say what was guessed.

    Raises NoGuess where the sample does not show what is needed, or where there is such a file already.
    """
    if file.exists():
        raise NoGuess(f"{file} is there already: move it away, or run this in another folder")
    name = re.sub(r"(\.(jsonl?|ndjson|gz|log|txt))+$", "", Path(sample).name) if sample != "-" else "events"
    try:
        with opened(sample) as found:
            seen = profile(itertools.islice(found, MOST))
    except (OSError, EOFError) as error:
        raise NoGuess(f"{sample} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    guessed = guess(seen, name, micros(datetime.now(UTC)))
    named = topic or re.sub(r"[^A-Za-z0-9._-]", "_", name)[:100] or "events"
    write_note(file, settings_text(guessed, sample, named))
    for line in told(guessed):
        click.echo(line)
    click.echo(f"{file} is written")
    if sample != "-":
        click.echo(f"stitch try {sample}: {summed_up(_tried(file, sample))}")


def told(guessed: Guess) -> list[str]:
    """What was guessed, a line each."""
    kind = guessed.type
    found = [f"from {guessed.records} events" + (f" ({guessed.broken} lines are none)" if guessed.broken else "")]
    found.append(f"  occurred_at  {guessed.occurred_at.path}: {guessed.occurred_at.why}")
    if guessed.event_id:
        found.append(f"  event_id     {guessed.event_id.path}: {guessed.event_id.why}")
    found.append(
        f"  type         {kind.path}: {kind.why}" if kind else f"  type         all are {guessed.constant_type!r}"
    )
    for one in guessed.counters:
        by = f" by {one.key}" + (f", of each the {one.member}" if one.member else "")
        found.append(f"  counter      {one.name}{by}")
    return found + [f"  {note}" for note in guessed.notes]


def _tried(file: Path, sample: str) -> Summary:
    settings = load_settings(file)
    holds, records = decided(settings, lines(sample, next(iter(settings.by_topic)), MOST))
    summary = Summary()
    for outcome in outcomes(records, settings, holds):
        summary.add(outcome)
    return summary
