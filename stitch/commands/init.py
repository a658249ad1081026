"""`stitch init`: the first settings file."""

from __future__ import annotations

from pathlib import Path

import click

from stitch.init import EXAMPLES, write_settings


@click.command()
@click.option("--example", type=click.Choice(list(EXAMPLES)), help="Which service's settings (default: music).")
@click.option("--sample", metavar="EVENTS.jsonl", help="Guess the settings from these events of your own.")
@click.option("--topic", help="Kafka's topic of these events (default: the file's name).")
def init(example: str | None, sample: str | None, topic: str | None) -> None:
    """Write stitch.toml into this folder: settings that run, commented.

    With --sample they are guessed from a file of your events, one JSON object a line: what is the instant, the
    identity, the type, what is counted and by what, each with the reason, to be corrected. Else they are an example's,
    to be changed to your own events.
    """
    if sample and example:
        raise click.UsageError("--sample and --example both say what the settings are of: give one of them")
    if topic and not sample:
        raise click.UsageError("--topic is the topic of the events of --sample, which is missing")
    if sample:
        from stitch.commands.sample import write_from_sample

        write_from_sample(sample, Path.cwd() / "stitch.toml", topic)
        return
    file = write_settings(example or "music", Path.cwd())
    click.echo(f"{file} is written, the settings of an example ({example or 'music'}). `stitch local up` starts what "
               "they name")  # fmt: skip
