"""Takes the scripts and styles of the reader's pages out of their packages into serving/static/vendor, at set-up.

They are served from there by the reader itself: a page asks no other host for anything. Each file is checked against a
digest, so what a page runs is what was looked at when the version was chosen (stitch.jars.sets.WEB).
"""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

from stitch.jars.errors import JarsError
from stitch.jars.sets import WEB
from stitch.shipped import PACKAGES

VENDOR = PACKAGES / "serving/static/vendor"
FILES = {  # name below vendor/: (path in the package, SHA-256)
    "uPlot.iife.min.js": (
        "uplot/1.6.30/dist/uPlot.iife.min.js",
        "7f29cd14e36d84141ab49c5e0a806d88e4d855596a9bc0e10799bc2c114b4c4f",
    ),
    "uPlot.min.css": (
        "uplot/1.6.30/dist/uPlot.min.css",
        "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    ),
    "uPlot.LICENSE.txt": ("uplot/1.6.30/LICENSE", "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd"),
    "swagger-ui-bundle.js": (
        "swagger-ui/5.34.1/swagger-ui-bundle.js",
        "36eeb4d5640b9c036b1d0f854499af1cceebbdb260b790a03a18be5e8488fbf5",
    ),
    "swagger-ui.css": (
        "swagger-ui/5.34.1/swagger-ui.css",
        "c3cfe8248c4b0b89673600fb829924eafbac6de4bc4b2b06f5f5243483074d0a",
    ),
    "swagger-ui-bundle.js.LICENSE.txt": (
        "swagger-ui/5.34.1/swagger-ui-bundle.js.LICENSE.txt",
        "37eb6e7e59aed57b2c1acf076574b818ea07b74265717e0bd67b59e0baf9abbb",
    ),
}


def extract(jars: Path = WEB.folder, into: Path = VENDOR) -> None:
    """Write every file that is not there yet. Raises JarsError where one is missing in its package, or is another."""
    packages = [zipfile.ZipFile(path) for path in sorted(jars.glob("*.jar"))]
    into.mkdir(parents=True, exist_ok=True)
    for name, (path, digest) in FILES.items():
        target = into / name
        if target.exists() and _digest(target.read_bytes()) == digest:
            continue
        inside = f"META-INF/resources/webjars/{path}"
        found = next((package for package in packages if inside in package.namelist()), None)
        if not found:
            raise JarsError(f"{path} is in none of the packages in {jars}: remove {jars} and run `make setup`")
        content = found.read(inside)
        if _digest(content) != digest:
            raise JarsError(
                f"{path} is not the file that stitch/jars/assets.py names (SHA-256 {_digest(content)}): do not serve "
                "it before you know why; with a new version, change the digest there"
            )
        target.write_bytes(content)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def main() -> int:
    try:
        extract()
    except JarsError as error:
        print(f"stitch: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
