"""A reader process over layers in memory, for tests of the server: `python -m tests.reader_process CONFIG`.

Two keys of `plays`: `quick`, and `slow`, whose rows take half a second. A file `broken` beside the settings keeps it
from being put together.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flask import Flask

from serving import server
from serving.layers.interface import Pending, TotalsRange
from stitch.buckets import EPOCH
from stitch.merge import Total
from stitch.settings import Settings, load_settings
from tests.fakes import FakeLayers

SLOW = 0.5
CUTOFF = datetime.now(UTC) - timedelta(hours=1)  # one of years ago would be a thousand reads


class SlowLayers(FakeLayers):
    def totals(self, reads: Sequence[TotalsRange]) -> Pending[list[dict[datetime, Total]]]:
        if any(read.key == "slow" for read in reads):
            time.sleep(SLOW)
        return super().totals(reads)


def make(settings: Settings) -> Flask:
    from serving.app import create_app  # in a worker, as serving.server does

    if Path(sys.argv[1]).with_name("broken").exists():
        raise ValueError("broken")
    layers = SlowLayers()
    layers.published = dict.fromkeys(("plays", "likes", "creator_plays"), CUTOFF)
    layers.through = datetime.now(UTC)
    layers.total_rows = {("plays", key, "all", EPOCH): Total(7, CUTOFF) for key in ("quick", "slow")}
    return create_app(settings, layers, probes_apart=settings.serving.admin_port is not None)


if __name__ == "__main__":
    server.COLLECTED = (0, 0, 0)  # nothing may wait for Python to look for cycles
    server.serve(lambda: load_settings(sys.argv[1]), make)
