"""A synthetic music service: a few tracks take most plays, some events come late, some twice, some likes are taken
back."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

TRACKS = 2_000
TRACKS_PER_CREATOR = 10
COUNTRIES = ("US", "DE", "GB", "FR", "BR", "IN", "JP")
TYPES = {"play": 85, "like": 8, "unlike": 2, "comment": 2, "repost": 2, "unrepost": 1}
LATE = 0.02  # occurred up to two days ago
TWICE = 0.01  # sent again with the same event_id
SKEW = 1.16  # Pareto shape: about 80 % of the plays on 20 % of the tracks


class MusicService:
    """Events that a seed and a clock decide, ids apart."""

    def __init__(self, seed: int, tracks: int = TRACKS, skew: float = SKEW) -> None:
        """skew: 0 is a catalogue in which a track is played as often as 1/rank (Zipf)."""
        self._random, self._tracks, self._skew = random.Random(seed), tracks, skew

    def events(self, count: int, now: float) -> Iterator[bytes]:
        """`count` different events around the instant `now` (seconds since 1970), duplicates on top."""
        for _ in range(count):
            event = json.dumps(self._event(now)).encode()
            yield event
            if self._random.random() < TWICE:
                yield event

    def _event(self, now: float) -> dict[str, object]:
        ranks = self._random.paretovariate(self._skew) if self._skew else self._tracks ** self._random.random()
        track = min(self._tracks, int(ranks))
        late = self._random.uniform(0, 172_800) if self._random.random() < LATE else self._random.uniform(0, 1)
        kind = self._random.choices(list(TYPES), weights=list(TYPES.values()))[0]
        event: dict[str, object] = {
            "event_id": str(uuid.UUID(int=self._random.getrandbits(128), version=4)) + f"-{int(now)}",
            "type": kind,
            "occurred_at": datetime.fromtimestamp(now - late, UTC).isoformat(timespec="milliseconds"),
            "track_id": f"track-{track}",
            "creator_id": f"creator-{1 + (track - 1) // TRACKS_PER_CREATOR}",
            "country": self._random.choice(COUNTRIES),
        }
        if kind == "play":
            event["duration_s"] = int(self._random.triangular(1, 400, 180))
        return event
