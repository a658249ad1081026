"""Which records are no events, and why: reason × count × example, from the event log.

    stitch rejected --help           (stitch submit rejected_records, the same)

It reads and never writes. Fields that are absent because something was wrong with them are told too: their events
count, but not for the counters that read the field. Reasons are as archive_events noted them.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from jobs.frames.rejections import absent, rejected
from jobs.lake.log import Log
from jobs.process.errors import run
from jobs.process.spark import session
from jobs.sources.event_log import read_log
from stitch.rejections import printable
from stitch.settings import Settings, load_settings
from stitch.values import as_duration, parse_duration

JOB = "rejected_records"
SHOWN = 30  # kinds on the page


def rejections(settings: Settings, since: timedelta, now: datetime) -> dict[str, Any]:
    """The report (see --json)."""
    with session(JOB, settings) as spark:
        names = Log(spark, settings).topics()
        records = read_log(spark, settings, now - since, None)
        return {
            "since": f"{now - since:%FT%TZ}",
            "until": f"{now:%FT%TZ}",
            "records": records.count(),
            "rejected": _rows(rejected(records), names),
            "absent": _rows(absent(records), names),
        }


def _rows(kinds: DataFrame, names: dict[str, str]) -> list[dict[str, Any]]:
    found = kinds.orderBy(F.desc("records"), "topic_id", "kind").collect()
    return [
        {
            "topic": names.get(row.topic_id, row.topic_id), "reason": row.kind, "records": row.records,
            "first": _instant(row["first"]), "last": _instant(row.last), "example": _example(row.example),
        }
        for row in found
    ]  # fmt: skip


def _example(row: Row) -> dict[str, Any]:
    value = None if row.value is None else bytes(row.value).decode("utf-8", "backslashreplace")
    return {"place": row.file or f"{row.partition}:{row.offset}", "appended": _instant(row.timestamp),
            "reason": row.reason, "value": value}  # fmt: skip


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def printed(report: dict[str, Any], since: timedelta) -> str:
    """The report for people: one page."""
    bad = sum(row["records"] for row in report["rejected"])
    lines = [f"of {report['records']} records of the last {as_duration(since)}, {bad} are no events"]
    for title, rows in (("rejected", report["rejected"]), ("absent", report["absent"])):
        lines += [f"{title}:"] if rows else []
        for row in rows[:SHOWN]:
            lines.append(f"{row['records']:>10}  {row['topic']}: {printable(row['reason'])}")
            example = row["example"]
            lines.append(f"{'':<12}last at {example['appended']}, {example['place']}: {printable(example['reason'])}")
            lines.append(f"{'':<12}{printable(example['value'] or 'no value')}")
        lines += [f"{'':<12}and {len(rows) - SHOWN} more kinds"] if len(rows) > SHOWN else []
    return "\n".join(lines)


def _lasting(_: click.Context, __: click.Parameter, text: str) -> timedelta:
    try:
        found: timedelta = parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return found


@click.command()
@click.option("--config", type=click.Path(), default=None, help="the settings file")
@click.option("--since", callback=_lasting, default="24h", show_default=True, help="how far to look back")
@click.option("--json", "as_json", is_flag=True, help="print the report as JSON")
def main(config: str | None, since: timedelta, as_json: bool) -> None:
    """Why records are no events: reason, count, example."""
    report = rejections(load_settings(config), since, datetime.now(UTC))
    print(json.dumps(report, ensure_ascii=False) if as_json else printed(report, since), flush=True)


if __name__ == "__main__":
    run(main)
