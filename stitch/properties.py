"""Spark's properties files, read and written as Spark does: the format of java.util.Properties, values trimmed.

A name ends at the first `=`, `:` or blank; a backslash at the end of a line joins the next one to it; `#` and `!` begin
a comment where they begin a line.
"""

from __future__ import annotations

import re

_BLANKS = " \t\f"
_ENTRY = re.compile(r"(?P<name>(?:\\.|[^\\=: \t\f])*)[ \t\f]*[=:]?[ \t\f]*(?P<value>.*)", re.DOTALL)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_MEANS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def parse(text: str) -> dict[str, str]:
    """name → value; of a name that is there twice, the last."""
    found = {}
    for line in _logical_lines(text):
        entry = _ENTRY.fullmatch(line)
        assert entry, line  # whatever the line holds, the two patterns take it
        found[_unescaped(entry["name"])] = _unescaped(entry["value"]).strip(" \t\f")
    return found


def written(settings: dict[str, str]) -> str:
    """The text that reads as these settings."""
    return "".join(f"{_escaped(name, '=: #!')} {_escaped(value, '')}\n" for name, value in settings.items())


def _logical_lines(text: str) -> list[str]:
    """The lines that hold something, continuations joined, comments and leading blanks gone."""
    lines: list[str] = []
    going_on = False
    for natural in re.split(r"\r\n|\r|\n", text):
        line = natural.lstrip(_BLANKS)
        if not going_on and (not line or line[0] in "#!"):
            continue
        joined = lines.pop() + line if going_on else line
        backslashes = len(joined) - len(joined.rstrip("\\"))
        going_on = backslashes % 2 == 1
        lines.append(joined[:-1] if going_on else joined)
    return lines


def _unescaped(text: str) -> str:
    def meaning(match: re.Match[str]) -> str:
        sign = match[1]
        return chr(int(sign[1:], 16)) if len(sign) == 5 else _MEANS.get(sign, sign)

    return _ESCAPE.sub(meaning, text)


def _escaped(text: str, also: str) -> str:
    for sign, escape in (("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t"), ("\f", "\\f")):
        text = text.replace(sign, escape)
    return re.sub(f"([{re.escape(also)}])", r"\\\1", text) if also else text
