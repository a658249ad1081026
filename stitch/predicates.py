"""A counter's `where`, decided without Spark: the comparisons that nearly all conditions are made of.

Spark alone knows all of its SQL, so here stands only what both decide alike: fields and literals of one kind compared
(`=`, `<>`, `<`, …, IN, BETWEEN, LIKE, IS NULL), joined by AND, OR and NOT. Everything else raises Beyond, and Spark is
to be asked: a function, arithmetic, a text compared with a number, an escape within a text.

As in SQL a value is true, false or null (None), and an event counts where the condition is true.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from stitch.conditions import tokens

Fields = Mapping[str, Any]
Value = Callable[[Fields], Any]
_NUMERIC = {"int", "decimal", "double"}
_INTEGER = re.compile(r"([0-9]{1,18})[lL]?")
_DECIMAL = re.compile(r"[0-9]{0,18}\.[0-9]{1,18}|[0-9]{1,18}\.")
_DOUBLE = re.compile(r"(?:[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(?:[eE][+-]?[0-9]{1,3})")
_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda one, other: one == other, "==": lambda one, other: one == other,
    "<>": lambda one, other: one != other, "!=": lambda one, other: one != other,
    "<": lambda one, other: one < other, "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other, ">=": lambda one, other: one >= other,
}  # fmt: skip


class Beyond(Exception):
    """The condition is more than these comparisons: Spark is to decide it."""


class _Typed(NamedTuple):
    """A value of an expression, and of which kind it always is."""

    kind: str  # string, int, decimal, double, boolean or null
    of: Value


def predicate(condition: str, kinds: Mapping[str, str]) -> Callable[[Fields], bool]:
    """A function from an event's fields to whether the condition holds. kinds: field → string, int, double or boolean.

    Raises Beyond.
    """
    read = _Reader(condition, kinds)
    found = read.any_of()
    if read.left() or found.kind not in ("boolean", "null"):
        raise Beyond
    return lambda fields: found.of(fields) is True


class _Reader:
    """Reads the words of a condition from left to right: one method for each level of precedence."""

    def __init__(self, condition: str, kinds: Mapping[str, str]) -> None:
        self._words = _joined(condition)
        self._kinds = kinds
        self._at = 0

    def left(self) -> bool:
        """Whether words are left over."""
        return self._at < len(self._words)

    def any_of(self) -> _Typed:
        found = self._all_of()
        while self._took("or"):
            found = _joined_by(found, self._all_of(), True)
        return found

    def _all_of(self) -> _Typed:
        found = self._negated()
        while self._took("and"):
            found = _joined_by(found, self._negated(), False)
        return found

    def _negated(self) -> _Typed:
        return _not(self._negated()) if self._took("not") else self._compared()

    def _compared(self) -> _Typed:
        one = self._operand()
        for sign, holds in _COMPARED.items():
            if self._took(sign):
                return _by(holds, one, self._operand())
        if self._took("is"):
            return self._is(one)
        negated = self._took("not")
        if self._took("in"):
            found = _is_one_of(one, self._listed())
        elif self._took("between"):
            least = self._operand()
            self._need("and")
            above = _by(_COMPARED[">="], one, least)
            found = _joined_by(above, _by(_COMPARED["<="], one, self._operand()), False)
        elif self._took("like"):
            found = self._like(one)
        elif negated:
            raise Beyond
        else:
            return one
        return _not(found) if negated else found

    def _is(self, one: _Typed) -> _Typed:
        negated = self._took("not")
        if self._took("null"):
            found = _Typed("boolean", lambda fields: one.of(fields) is None)
        elif one.kind == "boolean" and self._peek() in ("true", "false"):
            wanted = self._next()[1].lower() == "true"
            found = _Typed("boolean", lambda fields: one.of(fields) is wanted)
        else:
            raise Beyond
        return _not(found) if negated else found

    def _listed(self) -> list[_Typed]:
        self._need("(")
        found = [self._operand()]
        while self._took(","):
            found.append(self._operand())
        self._need(")")
        return found

    def _like(self, one: _Typed) -> _Typed:
        kind, word = self._next()
        if kind != "text" or one.kind != "string" or self._peek() == "escape":
            raise Beyond
        parts = {"%": ".*", "_": "."}
        pattern = re.compile("".join(parts.get(each, re.escape(each)) for each in _text(word)), re.DOTALL)

        def matches(fields: Fields) -> bool | None:
            value = one.of(fields)
            return None if value is None else pattern.fullmatch(value) is not None

        return _Typed("boolean", matches)

    def _operand(self) -> _Typed:
        kind, word = self._next()
        if word == "(":
            found = self.any_of()
            self._need(")")
            return found
        if kind == "text":
            text = _text(word)
            return _Typed("string", lambda _: text)
        if word == "-" and self._kind() == "number":
            return _number(self._next()[1], -1)
        if kind == "number":
            return _number(word, 1)
        name = word[1:-1] if kind == "quoted" else word
        if kind == "name" and word.lower() in ("true", "false", "null"):
            constant = {"true": True, "false": False, "null": None}[word.lower()]
            return _Typed("null" if constant is None else "boolean", lambda _: constant)
        if kind not in ("name", "quoted") or name not in self._kinds:
            raise Beyond
        if self._kind() == "text" or self._peek() in ("(", "."):  # DATE '2024-02-29', upper(country)
            raise Beyond
        return _Typed(self._kinds[name], lambda fields: fields.get(name))

    def _kind(self) -> str:
        return self._words[self._at][0] if self.left() else ""

    def _peek(self) -> str:
        return self._words[self._at][1].lower() if self.left() else ""

    def _next(self) -> tuple[str, str]:
        if not self.left():
            raise Beyond
        self._at += 1
        return self._words[self._at - 1]

    def _took(self, word: str) -> bool:
        if self._kind() in ("name", "other") and self._peek() == word:
            self._at += 1
            return True
        return False

    def _need(self, word: str) -> None:
        if not self._took(word):
            raise Beyond


def _joined(condition: str) -> list[tuple[str, str]]:
    """(kind, word) of the condition's words; signs that stand together are one."""
    found: list[tuple[str, str]] = []
    end = 0
    for token in tokens(condition):
        kind, word = str(token.lastgroup), token[0]
        close = kind == "other" and bool(found) and found[-1][0] == "other" and end == token.start()
        if close and word in "<>=" and found[-1][1] in ("<", ">", "=", "!", "<="):
            found[-1] = ("other", found[-1][1] + word)
        else:
            found.append((kind, word))
        end = token.end()
    return found


def _text(word: str) -> str:
    """What a literal says. Of escapes and doubled quotes Spark's versions have each their own mind."""
    text = word[1:-1]
    if word[0] not in "'\"" or "\\" in text or word[0] in text:
        raise Beyond
    return text


def _number(word: str, sign: int) -> _Typed:
    if found := _INTEGER.fullmatch(word):
        integer = sign * int(found[1])
        return _Typed("int", lambda _: integer)
    if _DECIMAL.fullmatch(word):
        decimal = sign * Decimal(word)
        return _Typed("decimal", lambda _: decimal)
    if _DOUBLE.fullmatch(word):
        double = sign * float(word)
        return _Typed("double", lambda _: double)
    raise Beyond


def _alike(operands: Sequence[_Typed]) -> list[Value]:
    """The operands' values, as they are compared: numbers as doubles where one of them is. Raises Beyond for kinds that
    Spark would make into one another."""
    kinds = {operand.kind for operand in operands} - {"null"}
    if len(kinds) > 1 and not kinds <= _NUMERIC:
        raise Beyond
    if "double" not in kinds:
        return [operand.of for operand in operands]
    return [_as_double(operand.of) for operand in operands]


def _as_double(of: Value) -> Value:
    def double(fields: Fields) -> float | None:
        value = of(fields)
        return None if value is None else float(value)

    return double


def _by(holds: Callable[[Any, Any], bool], one: _Typed, other: _Typed) -> _Typed:
    left, right = _alike([one, other])

    def compared(fields: Fields) -> bool | None:
        values = left(fields), right(fields)
        return None if None in values else holds(*values)

    return _Typed("boolean", compared)


def _is_one_of(one: _Typed, others: Sequence[_Typed]) -> _Typed:
    value, *values = _alike([one, *others])

    def found(fields: Fields) -> bool | None:
        at, among = value(fields), [other(fields) for other in values]
        if at is None:
            return None
        return True if any(each is not None and each == at for each in among) else None if None in among else False

    return _Typed("boolean", found)


def _joined_by(one: _Typed, other: _Typed, deciding: bool) -> _Typed:
    """OR, which one true value decides, or AND, which a false one does."""
    if {one.kind, other.kind} - {"boolean", "null"}:
        raise Beyond

    def joined(fields: Fields) -> bool | None:
        values = one.of(fields), other.of(fields)
        return deciding if deciding in values else None if None in values else not deciding

    return _Typed("boolean", joined)


def _not(one: _Typed) -> _Typed:
    if one.kind not in ("boolean", "null"):
        raise Beyond

    def negated(fields: Fields) -> bool | None:
        value = one.of(fields)
        return None if value is None else not value

    return _Typed("boolean", negated)
