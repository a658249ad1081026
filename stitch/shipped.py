"""Where the files that come with Stitch are, and where it keeps what it fetches: in a checkout, and installed.

In a checkout both are beside the packages. A wheel has conf/ within `stitch`, and what is fetched goes into the user's
cache, where the next version and other environments find it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

CACHE = "STITCH_CACHE"
_STITCH = Path(__file__).resolve().parent
PACKAGES = _STITCH.parent  # beside stitch/ are jobs/ and serving/, in a checkout and where a wheel is installed
CHECKOUT = PACKAGES if (PACKAGES / "pyproject.toml").is_file() else None
CONF = PACKAGES / "conf" if CHECKOUT else _STITCH / "conf"


def cache_folder(environ: Mapping[str, str] = os.environ, checkout: Path | None = CHECKOUT) -> Path:
    """Where fetched jars are kept: $STITCH_CACHE, else .cache of the checkout, else the user's cache (of the XDG)."""
    if named := environ.get(CACHE):
        return Path(named).expanduser().absolute()
    if checkout:
        return checkout / ".cache"
    of_the_user = environ.get("XDG_CACHE_HOME", "")
    # As the XDG Base Directory Specification has it: a relative one is to be ignored.
    return (Path(of_the_user) if Path(of_the_user).is_absolute() else Path.home() / ".cache") / "stitch"
