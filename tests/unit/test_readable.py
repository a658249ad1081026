"""What the topic holds behind a position, heard message by message."""

from __future__ import annotations

from typing import Any

from confluent_kafka import Message

from jobs.sources.readable import _next


class Client:
    """One that has these messages at once."""

    def __init__(self, *messages: Any) -> None:
        self.messages = list(messages)

    def poll(self, timeout: float) -> Any:
        return self.messages.pop(0) if self.messages else None

    def consume(self, most: int, timeout: float) -> list[Any]:
        taken, self.messages = self.messages[:most], self.messages[most:]
        return taken


def test_a_record_without_a_value_is_heard_as_any_other() -> None:
    """A Message is as long as its value, so one without is falsy."""
    empty, tombstone, other = (Message("events", 0, offset, value=v) for offset, v in enumerate((b"", None, b"{}")))
    assert not empty and not tombstone
    for messages in ((tombstone, other), (empty, other), (other, tombstone), (tombstone,)):
        assert _next(Client(*messages)) == list(messages)  # type: ignore[arg-type]
    assert _next(Client()) == []  # type: ignore[arg-type]
