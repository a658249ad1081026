"""What the audit says: a finding for each thing that it looked at, and the page that people read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

SHOWN = 10  # of rows that are wrong, so many are named
# Whatever is compared here was held by some part once. What never was leaves no trace to compare.
NOT_KNOWN = (
    "records that no part ever held (lost by a producer or a broker, or removed before they were archived); whether a "
    "few offsets without a record are transactions' or compacted away; what windows hold that are not over"
)


@dataclass
class Finding:
    """One thing that was looked at: whether it is right, in a sentence, and what is wrong with it."""

    about: str
    right: bool
    said: str
    details: list[str] = field(default_factory=list)


def report_of(findings: Sequence[Finding], now: datetime, cutoff: datetime | None, sample: float) -> dict[str, Any]:
    """The report as `--json` prints it."""
    return {
        "at": f"{now:%FT%TZ}",
        "cutoff": f"{cutoff:%FT%TZ}" if cutoff else None,
        "sample": sample,
        "right": all(finding.right for finding in findings),
        "findings": [asdict(one) for one in findings],
        "not_known": NOT_KNOWN,
    }


def printed(report: dict[str, Any]) -> str:
    """The report for people: one page."""
    lines = [f"stitch audit {report['at']}, published cutoff {report['cutoff'] or 'none'}"]
    for finding in report["findings"]:
        lines.append(f"{'ok   ' if finding['right'] else 'WRONG'} {finding['about']:<16} {finding['said']}")
        details = finding["details"]
        lines += [f"        {detail}" for detail in details[: 2 * SHOWN]]
        lines += [f"        (and {len(details) - 2 * SHOWN} more)"] if len(details) > 2 * SHOWN else []
    lines.append(f"not known: {report['not_known']}")
    lines.append("the counts are right" if report["right"] else "the counts are NOT right")
    return "\n".join(lines)
