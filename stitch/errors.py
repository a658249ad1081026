"""The base of every named error, and the exit statuses that errors end a command with.

A message says what was wrong, where, and what to do, and is shown as it is. A status says to a scheduler what kind it
was: whether trying again later is enough, whether the command was wrong, or whether a person must look.
"""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """What a command ends with; docs/commands.md says it to people. 75 is EX_TEMPFAIL of sysexits.h."""

    DONE = 0
    LOOK = 1
    USAGE = 2
    WRONG = 3
    AGAIN = 75
    INTERRUPTED = 130
    CLOSED = 141
    ENDED = 143


class StitchError(Exception):
    """Becomes one message on stderr and its exit status (stitch.exits), or an HTTP answer."""

    exit_status = ExitStatus.LOOK
