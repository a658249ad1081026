"""Where a page of members ended: who was told so far, so that the next page has the first of those who were not.

Counts move between two pages. By the place of the last member alone, one who rises past it would be skipped, and one
who falls behind it told twice. So `after` names those who were told, each by 40 bits. Where they are too many for an
address, it names those who rank last of them, and by the place in their midst all before it: nobody is mistaken who
moves by less than half as many ranks. It holds whichever process answers, and when a batch run publishes in between.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

ROOM = 7000  # characters for key and cursor: servers take addresses of 8,190
BYTES = 5  # of a member: among 10,000 of whom 1,000 were told, one is mistaken for another once in 100,000 times
_MARKS = b"\x01"  # begins them; JSON has no such byte
Ranked = tuple[int, str]  # −count, member: the first of them is the least


@dataclass(frozen=True)
class Told:
    """Who was told: all up to the `edge`, as they rank now, and whom `marks` name, wherever they rank."""

    marks: frozenset[bytes] = frozenset()
    edge: Ranked | None = None

    def has(self, row: Ranked) -> bool:
        return (self.edge is not None and row <= self.edge) or (bool(self.marks) and _mark(row) in self.marks)

    def has_others(self, members: Sequence[str]) -> bool:
        """Whether somebody else than these was told by name."""
        return bool(self.marks) and not self.marks <= {_mark((0, member)) for member in members}

    def cursor(self) -> str:
        """Opaque, so that nobody builds on what is in it."""
        said = _place(self.edge) + _MARKS + b"".join(sorted(self.marks))
        return base64.urlsafe_b64encode(said).decode().rstrip("=")


def after(told: Told, before: Sequence[Ranked], page: Sequence[Ranked], key: str) -> Told:
    """Who was told when the page was, too. `before`: those who were told before, as they rank now. Of all others none
    ranks before the last of the page."""
    room = max(0, (ROOM - len(quote(key, safe=""))) * 3 // 4 - len(_MARKS))  # bytes, before base64

    def fitting(edge: Ranked | None) -> int:
        return max(0, room - len(_place(edge))) // BYTES

    found = told.marks | {_mark(row) for row in page}
    if len(found) <= fitting(told.edge):
        return Told(found, told.edge)
    ranked = sorted([*before, *page])
    first, last = max(0, len(ranked) - room // BYTES), ranked.index(page[-1])
    # In their midst: those before the first may fall, and those behind the last rise, by half as many ranks.
    while first < last and len(ranked) - first > fitting(ranked[(first + last) // 2]):
        first += 1
    first = min(first, last)
    edge = ranked[(first + last) // 2]
    named = ranked[first : first + fitting(edge)]
    return Told(frozenset(map(_mark, named)), edge)


def from_cursor(text: str) -> Told:
    """Who was told, by a cursor; raises ValueError."""
    try:
        said = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        place, begun, marks = said.partition(_MARKS)
        edge = json.loads(place) if place or not begun else None
    except (TypeError, RecursionError, binascii.Error, UnicodeError) as error:
        raise ValueError("no cursor") from error
    if len(marks) % BYTES or not (edge is None or _is_place(edge)):
        raise ValueError("no cursor")
    named = (marks[at : at + BYTES] for at in range(0, len(marks), BYTES))
    return Told(frozenset(named), (-edge[0], edge[1]) if edge else None)


def _place(edge: Ranked | None) -> bytes:
    return json.dumps([-edge[0], edge[1]], ensure_ascii=False).encode() if edge else b""


def _is_place(said: object) -> bool:
    match said:
        case [int(count), str()]:
            return not isinstance(count, bool)
    return False


def _mark(row: Ranked) -> bytes:
    return hashlib.blake2b(row[1].encode(), digest_size=BYTES).digest()
