"""The base of every named error: its message says what was wrong, where, and what to do, and is shown as it is."""


class StitchError(Exception):
    """Becomes one message on stderr and exit status 1, or an HTTP answer; never a stack trace at a user."""
