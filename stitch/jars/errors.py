"""The one error of the jars, so that the console script turns it into a message in one place."""

from __future__ import annotations

from stitch.errors import StitchError


class JarsError(StitchError):
    """The jars cannot be had as jars.lock says; the message says what was found and what to do."""
