"""A guess as a settings file: what was understood, why, and what else could have been meant, as comments."""

from __future__ import annotations

import json
import re
from typing import Any

from stitch.sample.guess import Guess, as_plain

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_HEAD = """\
# Settings for the events of {file}, guessed from {records} of them by `stitch init --sample`: correct what is wrong.
# `stitch try {file}` says what would be counted, `stitch config check` whether the file is right, and
# docs/settings.md lists every setting. Passwords come from the environment alone: STITCH_KAFKA__PASSWORD.

[kafka]
bootstrap_servers = "127.0.0.1:19092"
topic = {topic}

[realtime]                        # the real-time layer's Cassandra
hosts = ["127.0.0.1"]
port = 19042
keyspace = {realtime}

[batch]                           # the batch layer's, the same or another one
hosts = ["127.0.0.1"]
port = 19042
keyspace = {batch}

[streaming]
ingest_window = "1m"              # must divide an hour; "1h" in production: fewer rows
"""


def settings_text(found: Guess, file: str, topic: str) -> str:
    """The text of the settings file. file: the sample's name; topic: that of Kafka."""
    space = re.sub(r"[^a-z0-9_]", "_", topic.lower())[:30].strip("_") or "events"
    space = space if space[0].isalpha() else f"t_{space}"
    names = {"topic": toml(topic), "realtime": toml(f"{space}_realtime"), "batch": toml(f"{space}_batch")}
    head = _HEAD.format(file=_comment(file), records=found.records, **names)
    return "\n".join([head, *_events(found), "", *_counters(found)])


def _events(found: Guess) -> list[str]:
    plain = as_plain(found)["events"]
    why = {"occurred_at": _why(found.occurred_at)}
    if found.event_id:
        why["event_id"] = _why(found.event_id)
    if found.type:
        why["type"] = _why(found.type)
    else:
        why["constant_type"] = "no field looks like a type of events: all are of this one"
    lines = ["[events]                          # where the fields are: dotted paths into the JSON"]
    lines += [f"# {_comment(note)}" for note in found.notes]
    for name, value in plain.items():
        if name not in ("paths", "types"):
            lines.append(_line(name, value, why.get(name, "")))
    if plain["types"]:
        lines += ["", "[events.types]                    # string unless said"]
        lines += [_line(name, kind, found.fields_why.get(name, "")) for name, kind in plain["types"].items()]
    if plain["paths"]:
        lines += ["", "[events.paths]"]
        lines += [_line(name, path, found.fields_why.get(name, "")) for name, path in plain["paths"].items()]
    for name in found.countries:
        lines += ["", f"[serving.names.{name}]", 'kind = "country"                  # pages call them by name']
    return lines


def _counters(found: Guess) -> list[str]:
    seen = ", ".join(f"{kind} ({count})" for kind, count in found.types_seen[:20])
    lines = [f"# Types of events in the sample: {_comment(seen)}"]
    for one in as_plain(found)["counters"]:
        why = found.fields_why.get(one["key"], "")
        lines += ["", "[[counters]]", f"name = {toml(one['name'])}", _line("key", one["key"], why)]
        if "member" in one:
            lines.append(_line("member", one["member"], "breakdown: top lists come from it"))
        lines.append(f"weights = {toml(one['weights'])}")
    return [*lines, ""]


def _why(chosen: Any) -> str:
    others = f"; or {', '.join(chosen.others[:4])}?" if chosen.others else ""
    return f"{chosen.why}{others}"


def _line(name: str, value: Any, why: str) -> str:
    said = f"{_name(name)} = {toml(value)}"
    room = 118 - max(len(said), 32)
    comment = _comment(why)
    if not comment:
        return said
    if len(comment) > room:
        return f"# {comment[:116]}\n{said}"
    return f"{said:<33} # {comment}"


def toml(value: Any) -> str:
    """A value as TOML has it, in one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_name(name)} = {toml(one)}" for name, one in value.items()) + " }" if value else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):  # JSON's escapes are TOML's, but for DEL and halves of surrogate pairs
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


def _name(name: str) -> str:
    return name if _BARE.fullmatch(name) else toml(name)


def _comment(text: str) -> str:
    """The text in a comment: one line, nothing that TOML refuses there."""
    return "".join(one if one.isprintable() else " " for one in text)[:400]
