"""The one error of the local stack, so that the console script turns it into a message in one place."""

from __future__ import annotations

from stitch.errors import StitchError


class StackError(StitchError):
    """The local stack cannot do what was asked; the message says what was found and what to do."""
