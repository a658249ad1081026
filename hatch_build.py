"""What a wheel has beside the packages: conf/ within stitch. It is not made without the scripts of the pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VENDOR = "serving/static/vendor"  # fetched at set-up, and compared there (stitch/jars/assets.py)


class Shipped(BuildHookInterface[Any]):
    """Not of an editable installation, which finds all in the checkout."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add conf/. Raises FileNotFoundError where set-up has not fetched the scripts: pages would be blank."""
        if version == "editable":
            return
        if not any(Path(self.root, VENDOR).glob("*.js")):
            raise FileNotFoundError(f"{self.root}/{VENDOR} has no scripts, so the reader's pages would be blank: run "
                                    "`make setup` first, or take the wheel or the sdist of a release")  # fmt: skip
        if self.target_name == "wheel":
            build_data["force_include"]["conf"] = "stitch/conf"
