"""Runs a command and answers its exit status: the one place where errors become messages, for CLI and jobs alike.

Nobody reads a stack trace at night, but somebody may want it in the morning: that of an error that has no name is kept
in a file, which the message names. STITCH_DEBUG=1 prints it at once.
"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence

import click

from stitch.errors import ExitStatus, StitchError
from stitch.extras import of_module, told

MOST_CHARACTERS = 500  # of what an error without a name says


def first_line(error: BaseException) -> str:
    """The kind of an error and the first line of what it says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:MOST_CHARACTERS]}" if lines else type(error).__name__


def run(
    command: click.Command,
    args: Sequence[str],
    name: str,
    cause_of: Callable[[BaseException], str] = first_line,
    may_pass: Callable[[BaseException], bool] = lambda _: False,
) -> int:
    """Call the command with these arguments and return its exit status; every error is one message on stderr.

    cause_of: what happened, in a line, for an error that has no name
    may_pass: whether running the same command later may be enough after it
    """
    try:
        with command.make_context(name, list(args)) as context:
            command.invoke(context)
        sys.stdout.flush()
        return ExitStatus.DONE
    except click.exceptions.Exit as ended:  # --help, and a status that the command chose
        return ended.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _told("interrupted", ExitStatus.INTERRUPTED)
    except BrokenPipeError:  # `stitch … | head`: whoever read the output has gone, and wants no message
        _discard_output()
        return ExitStatus.CLOSED
    except Exception as error:
        return _named(error) or _unnamed(error, cause_of(error), may_pass(error))


def _named(error: Exception) -> int | None:
    if os.environ.get("STITCH_DEBUG") == "1":
        traceback.print_exc()
    if isinstance(error, click.ClickException):
        error.show()
        return ExitStatus.USAGE  # click ends with 1 for a file that it cannot open: that is one of the arguments too
    if isinstance(error, StitchError):
        return _told(str(error), error.exit_status)
    if isinstance(error, ModuleNotFoundError) and (extra := of_module(error.name)):
        return _told(told(extra, str(error.name)), ExitStatus.USAGE)
    if isinstance(error, OSError):  # a disk that is full, a folder that may not be written
        where = f"{error.filename}: " if error.filename else ""
        return _told(f"{where}{error.strerror or error}", ExitStatus.LOOK)
    return None


def _unnamed(error: Exception, cause: str, passes: bool) -> int:
    if passes:
        return _told(f"{cause}\nIt may pass: run it again{_kept_trace(error)}", ExitStatus.AGAIN)
    return _told(f"internal or unexpected: {cause}{_kept_trace(error)}", ExitStatus.LOOK)


def _told(message: str, status: ExitStatus) -> int:
    print(f"stitch: {message}", file=sys.stderr, flush=True)
    return status


def _kept_trace(error: Exception) -> str:
    """Keep the stack trace in a file that only this user reads; returns the sentence that names it."""
    if os.environ.get("STITCH_DEBUG") == "1":
        return ""
    try:
        with tempfile.NamedTemporaryFile("w", prefix="stitch-", suffix=".trace", encoding="utf-8", delete=False) as out:
            traceback.print_exception(error, file=out)
    except OSError:
        return "\nSTITCH_DEBUG=1 shows the whole trace"
    return f"\nThe whole trace is in {out.name}; STITCH_DEBUG=1 prints it here"


def _discard_output() -> None:
    """Let nothing be written into the closed pipe while Python ends: it would complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
