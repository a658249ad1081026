"""What a counter's `where` may say: a SQL condition over the event's fields and nothing else, the same on every replay.

Its words are read here so that the settings know which fields it names, and refuse what Spark would only refuse, or
quietly decide otherwise on each replay, once the job runs. Whether it is SQL, and fits the types of its fields, Spark
says.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_TOKEN = re.compile(
    r"""(?P<text>[rR]?'(?:[^'\\]|\\.|'')*'|[rR]?"(?:[^"\\]|\\.|"")*")"""
    r"|(?P<quoted>`(?:[^`]|``)*`)"
    r"|(?P<number>[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?[A-Za-z]{0,2}\b)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<comment>--[^\n]*|/\*.*?\*/)"
    r"|(?P<space>\s+)"
    r"|(?P<other>.)",
    re.DOTALL,
)
_WORDS = {
    "and", "or", "not", "in", "is", "null", "like", "ilike", "rlike", "regexp", "between", "true", "false", "case",
    "when", "then", "else", "end", "escape", "distinct", "from", "div", "any", "some", "all", "as",
}  # fmt: skip
_TYPES = {
    "string", "int", "integer", "bigint", "long", "smallint", "tinyint", "double", "float", "real", "decimal", "dec",
    "numeric", "boolean", "date", "timestamp", "binary", "interval", "x", "timestamp_ntz", "timestamp_ltz",
}  # fmt: skip
# What answers otherwise at another time or place: clocks, chance, who asks, where a record lies.
_CHANGING = {
    "rand", "random", "randn", "randstr", "uniform", "uuid", "shuffle", "now", "current_timestamp", "current_date",
    "curdate", "localtimestamp", "current_time", "current_timezone", "current_user", "user", "session_user",
    "current_catalog", "current_database", "current_schema", "version", "input_file_name", "input_file_block_start",
    "input_file_block_length", "monotonically_increasing_id", "spark_partition_id", "java_method", "reflect",
    "try_reflect", "raise_error", "assert_true",
}  # fmt: skip
_NO_PARENTHESES = {
    "current_timestamp",
    "current_date",
    "localtimestamp",
    "current_user",
    "current_time",
    "session_user",
}
# What needs more than the one event.
_OTHER_ROWS = {
    "select", "exists", "over", "explode", "explode_outer", "posexplode", "posexplode_outer", "inline", "inline_outer",
    "stack", "count", "sum", "avg", "mean", "min", "max", "first", "last", "first_value", "last_value", "any_value",
    "collect_list", "collect_set", "row_number", "rank", "dense_rank", "lag", "lead", "ntile", "grouping",
    "approx_count_distinct", "count_if", "bool_and", "bool_or", "every", "stddev", "variance", "window",
}  # fmt: skip


def condition_fields(condition: str) -> set[str]:
    """The field names in a SQL condition: its words, less texts, functions, types and SQL's own."""
    return {name for name, is_field in _words(condition) if is_field}


def qualified(condition: str, column: Callable[[str], str]) -> str:
    """The condition with each field's name replaced by the SQL of its column."""
    parts, at = [], 0
    for match, is_field in _named(condition):
        parts += [condition[at : match.start()], column(_bare(match)) if is_field else match[0]]
        at = match.end()
    return "".join([*parts, condition[at:]])


def objection(condition: str) -> str | None:
    """Why a condition cannot decide alike on every replay; None where nothing in it says so."""
    for match, is_field in _named(condition):
        word, following = match[0].lower(), condition[match.end() :].lstrip()
        if word in _CHANGING and (following.startswith("(") or word in _NO_PARENTHESES):
            return f"{word} answers otherwise on each replay; a condition may ask the event alone"
        if word in _OTHER_ROWS and (following.startswith("(") or word == "select"):
            return f"{word} asks more than one event; a condition is about the event alone"
        if is_field and following.startswith("."):
            return f"{match[0]}{following[:20]!s}: name a field within an object in events.paths, and use that name"
    return None


def tokens(condition: str) -> list[re.Match[str]]:
    """The words and signs of a condition, less comments and spaces; the group that matched says of which kind each
    is."""
    return [token for token in _TOKEN.finditer(condition) if not token["space"] and not token["comment"]]


def _words(condition: str) -> list[tuple[str, bool]]:
    return [(_bare(match), is_field) for match, is_field in _named(condition)]


def _named(condition: str) -> list[tuple[re.Match[str], bool]]:
    """Every word of the condition, and whether it is a field's name."""
    words = tokens(condition)
    found = []
    for at, token in enumerate(words):
        if token["quoted"]:
            found.append((token, True))
        elif token["name"]:
            before = words[at - 1] if at else None
            after = words[at + 1] if at + 1 < len(words) else None
            unit = at > 1 and words[at - 2][0].lower() == "interval"  # INTERVAL 1 DAY
            found.append((token, not unit and _is_field(token["name"].lower(), before, after)))
    return found


def _is_field(word: str, before: re.Match[str] | None, after: re.Match[str] | None) -> bool:
    if word in _WORDS or word in _NO_PARENTHESES:
        return False
    if word in _TYPES and ((after and after["text"]) or (before and (before[0].lower() == "as" or before[0] == ":"))):
        return False  # DATE '2024-02-29', cast(x AS int), x::int
    if word == "interval" and after and after["number"]:
        return False
    return not (after and after[0] == "(") and not (before and before[0] == ".")


def _bare(match: re.Match[str]) -> str:
    return match[0][1:-1].replace("``", "`") if match["quoted"] else match[0]
