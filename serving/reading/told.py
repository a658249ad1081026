"""Where a page of members ended: who was told so far, so that the next page has the first of those who were not.

Counts move between two pages. By the place of the last member alone (`Edge`), one who rises past it would be skipped,
and one who falls behind it told twice. So `after` names all who were told, each by 40 bits, until that is too long for
an address. It holds whichever process answers, and when a batch run publishes in between.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

ROOM = 7000  # characters for key and cursor: servers take addresses of 8,190
BYTES = 5  # of a member: among 10,000 of whom 1,000 were told, one is mistaken for another once in 100,000 times
_TOLD = b"\x01"  # JSON cannot begin so


@dataclass(frozen=True)
class Edge:
    """All up to this count and member were told."""

    count: int
    member: str

    def has(self, count: int, member: str) -> bool:
        return (-count, member) <= (-self.count, self.member)

    def cursor(self) -> str:
        return _opaque(json.dumps([self.count, self.member]).encode())


@dataclass(frozen=True)
class Told:
    """These were told, whatever their counts are now."""

    marks: frozenset[bytes] = frozenset()

    def has(self, _: int, member: str) -> bool:
        return _mark(member) in self.marks

    def cursor(self) -> str:
        return _opaque(_TOLD + b"".join(sorted(self.marks)))


Place = Edge | Told


def after(place: Place, page: Iterable[tuple[str, int]], key: str) -> Place:
    """The place behind a page that began at `place`."""
    rows = list(page)
    member, count = rows[-1]
    if isinstance(place, Told):
        told = Told(place.marks | {_mark(member) for member, _ in rows})
        if len(told.cursor()) <= ROOM - len(quote(key, safe="")):
            return told
    return Edge(count, member)


def from_cursor(text: str) -> Place:
    """The place that a cursor names; raises ValueError."""
    try:
        said = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        if said[:1] == _TOLD and len(said) % BYTES == 1:
            return Told(frozenset(said[at : at + BYTES] for at in range(1, len(said), BYTES)))
        count, member = json.loads(said)
    except (TypeError, RecursionError, binascii.Error, UnicodeError) as error:
        raise ValueError("no cursor") from error
    if type(count) is not int or not isinstance(member, str):
        raise ValueError("no cursor")
    return Edge(count, member)


def _mark(member: str) -> bytes:
    return hashlib.blake2b(member.encode(), digest_size=BYTES).digest()


def _opaque(said: bytes) -> str:
    """Opaque, so that nobody builds on what is in it."""
    return base64.urlsafe_b64encode(said).decode().rstrip("=")
