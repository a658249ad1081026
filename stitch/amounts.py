"""The largest sum that Stitch keeps: sums of amounts saturate at it and never wrap.

2^62, so that an ingest window's start (µs since 1970) plus a movement of that size is still a signed 64-bit integer.
"""

from __future__ import annotations

MOST_SUM = 2**62


def saturated(total: int) -> int:
    """The sum as it is kept: within ±MOST_SUM."""
    return max(-MOST_SUM, min(total, MOST_SUM))
