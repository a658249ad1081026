"""Of unit tests alone."""

from __future__ import annotations

import gc

# Modules and test items are many objects that stay: to look through them again and again took a tenth of the time.
gc.set_threshold(100_000, 50, 50)
