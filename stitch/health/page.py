"""What was found, for people; and the exit status that it comes to."""

from __future__ import annotations

from collections.abc import Sequence

from stitch.errors import ExitStatus
from stitch.health.facts import Finding, Level


def exit_status(findings: Sequence[Finding]) -> ExitStatus:
    """1 where there is a problem, 75 where a part did not answer, 0 for warnings."""
    levels = {finding.level for finding in findings}
    if Level.PROBLEM in levels:
        return ExitStatus.LOOK
    return ExitStatus.AGAIN if Level.AWAY in levels else ExitStatus.DONE


def page(findings: Sequence[Finding]) -> str:
    """The findings as lines, each with its mend."""
    found = []
    for one in findings:
        what, *more = one.what.splitlines()
        found += [f"{one.level:<8} {one.check:<14} {what}", *(f"{'':<24}{line.strip()}" for line in more)]
        found += [f"{'':<24}→ {line.strip()}" for line in one.mend.splitlines()]
    bad = sum(one.level != Level.OK for one in findings)
    return "\n".join([*found, f"{bad} of {len(findings)} findings need a look" if bad else "all is well"])
