"""`stitch init`: the first settings file."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--sample", metavar="EVENTS.jsonl", required=True, help="Guess the settings from these events.")
@click.option("--topic", help="Kafka's topic of these events (default: the file's name).")
def init(sample: str, topic: str | None) -> None:
    """Write stitch.toml into this folder, guessed from a file of your events, one JSON object a line.

    What is the instant, the identity, the type, what is counted and by what: each with the reason, to be corrected.
    """
    from stitch.commands.sample import write_from_sample

    write_from_sample(sample, Path.cwd() / "stitch.toml", topic)
