"""Names: what those of fields say about their meaning, and how fields and counters are called in the settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

INSTANTS = (
    "occurred_at", "event_time", "timestamp", "time", "ts", "datetime", "date", "created_at", "created", "at",
    "when",
)  # fmt: skip
IDS = ("event_id", "id", "uuid", "guid", "message_id", "request_id", "sha", "hash", "commit", "key")
TYPES = ("type", "event_type", "event", "action", "kind", "verb", "op", "operation", "event_name")
KEYS = (
    "track", "song", "video", "product", "item", "article", "page", "path", "url", "post", "repo", "project",
    "user", "author", "creator", "customer", "account", "channel", "category", "country", "city", "device", "host",
    "origin", "carrier", "source", "status", "name",
)  # fmt: skip
AMOUNTS = (
    "duration", "seconds", "amount", "price", "total", "bytes", "size", "count", "quantity", "qty", "minutes",
    "insertions", "deletions", "added", "removed", "lines", "files", "score", "value", "delay", "distance",
)  # fmt: skip
GENERIC = ("id", "name", "key", "value", "email", "login", "title", "slug")


def names_of(paths: Iterable[str]) -> dict[str, str]:
    """path → the name of its field: the last part, or more of them where two would have one name."""
    found: dict[str, str] = {}
    for path in sorted(paths, key=lambda path: (path.count("."), path)):
        parts = path.split(".")
        shortest = len(parts) - (2 if parts[-1].lower() in GENERIC and len(parts) > 1 else 1)  # author.name
        tries = [name_of("_".join(parts[at:])) for at in range(shortest, -1, -1)]
        taken = {*found.values(), "event_id", "type", "occurred_at"}
        name = next((one for one in tries if one not in taken), None)
        if name:
            found[path] = name
    return found


def name_of(text: str) -> str:
    """A text as a name of the settings: creatorId → creator_id."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).lower()
    plain = re.sub(r"[^a-z0-9]+", "_", snake).strip("_")[:48].rstrip("_")
    return plain if re.match(r"[a-z]", plain) else f"f_{plain}"[:48].rstrip("_")


def plural(name: str) -> str:
    return (name if name.endswith("s") else f"{name[:-1]}ies" if re.search("[^aeiou]y$", name) else f"{name}s")[:48]


def singular(name: str) -> str:
    if name.endswith("ies"):
        return f"{name[:-3]}y"
    return name[:-1] if re.search("..[^su]s$", name) else name


def is_named(path: str, names: Sequence[str]) -> bool:
    return rank(path, names) < len(names)


def rank(path: str, names: Sequence[str]) -> int:
    """How near to the front of the names the path's is: the name itself, its last word, or any; those at all behind
    those that are one."""
    parts = path.split(".")
    last = name_of("_".join(parts[-2:] if parts[-1].lower() in GENERIC else parts[-1:]))
    words = last.split("_")
    for at, name in enumerate(names):
        if last == name or last == f"{name}_id" or (len(words) > 1 and words[-1] == name) or words[0] == name:
            return at
    return len(names)
