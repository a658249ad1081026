"""`make lock`: resolves the packages of every class path with the Ivy that ships inside pyspark, and writes jars.lock.

Resolving Maven's dependencies is Ivy's trade and needs Java; it happens only when versions change. Whoever sets up
reads the result (stitch.jars.fetch). Ivy compares what it fetched with the repository's own checksums.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from stitch.jars.errors import JarsError
from stitch.jars.repository import ivy_jar
from stitch.jars.sets import ALL, CACHE, LOCK, OF_TESTS, Jar, JarSet
from stitch.java import java_home
from stitch.shipped import CONF

HEAD = """\
# The jars of every class path: coordinate, SHA-256 and size in bytes. Written by `make lock` from the packages that
# stitch/jars/sets.py names; fetched by stitch/jars/fetch.py.
"""


def ivy_module(jars: JarSet) -> str:
    """An ivy.xml that asks for the runtime jars of the set: no sources, no optional dependencies."""
    rows = []
    for package in jars.packages:
        org, name, rev = package.split(":")
        rows.append(f'    <dependency org="{org}" name="{name}" rev="{rev}" conf="default->default"/>')
    return "\n".join(
        [
            '<ivy-module version="2.0">',
            f'  <info organisation="stitch" module="{jars.name}-jars"/>',
            '  <configurations><conf name="default"/></configurations>',
            "  <dependencies>",
            *rows,
            "  </dependencies>",
            "</ivy-module>",
        ]
    )


def resolve(jars: JarSet, cache: Path) -> list[Jar]:
    """The jars of the set, of every dependency the one version that Ivy chose. Raises JarsError with its log's end."""
    cache.mkdir(parents=True, exist_ok=True)
    module = cache / f"{jars.name}.ivy.xml"
    module.write_text(ivy_module(jars), "utf-8")
    ivy = subprocess.run(
        [
            str(java_home() / "bin/java"),
            "-jar",
            str(ivy_jar()),
            "-settings",
            str(CONF / "ivysettings.xml"),
            "-cache",
            str(cache),
            "-ivy",
            str(module),
            "-confs",
            "default",
            "-types",
            "jar",
            "bundle",
        ],
        capture_output=True,
        text=True,
        cwd=cache,
    )
    if ivy.returncode:
        last = "\n".join((ivy.stdout + ivy.stderr).splitlines()[-12:])
        raise JarsError(f"the packages of {jars.name} could not be resolved; the end of Ivy's log:\n{last}")
    return resolved((cache / f"stitch-{jars.name}-jars-default.xml").read_text("utf-8"))


def resolved(report: str) -> list[Jar]:
    """The jars of Ivy's report. Raises JarsError for one that no repository in Maven's layout has at its path."""
    found = []
    for module in ElementTree.fromstring(report).iter("module"):
        for revision in module.iter("revision"):
            for artifact in revision.iter("artifact"):
                origin = artifact.find("origin-location")
                if artifact.get("type") not in ("jar", "bundle") or origin is None:
                    continue
                group, name, version = module.attrib["organisation"], module.attrib["name"], revision.attrib["name"]
                address = origin.attrib["location"]
                classifier = address.rpartition("/")[2].removeprefix(f"{name}-{version}").removesuffix(".jar")
                file = Path(artifact.attrib["location"]).read_bytes()
                coordinate = f"{group}:{name}:{version}{classifier.replace('-', ':', 1)}"
                jar = Jar(coordinate, hashlib.sha256(file).hexdigest(), len(file))
                if not address.endswith(f"/{jar.path}"):
                    raise JarsError(f"{jar.coordinate} is at {address}, which is not where Maven's layout has it")
                found.append(jar)
    return sorted(found, key=lambda jar: jar.coordinate)


def lock_text(sets: Mapping[JarSet, Sequence[Jar]]) -> str:
    rows = [HEAD]
    for jars, locked in sets.items():
        rows += [f"[{jars.name}]", "packages = [", *(f'  "{package}",' for package in jars.packages), "]"]
        rows += [f"[{jars.name}.jars]"]
        for jar in locked:
            rows += [f'[{jars.name}.jars."{jar.coordinate}"]', f'sha256 = "{jar.sha256}"', f"size = {jar.size}"]
        rows += [""]
    return "\n".join(rows)


def main() -> int:
    try:
        sets = {}
        for jars in (*ALL, *OF_TESTS):
            print(f"[lock] jars of {jars.name}: {', '.join(jars.packages)}", flush=True)
            sets[jars] = resolve(jars, CACHE / "ivy/cache")
    except JarsError as error:
        print(f"stitch: {error}", file=sys.stderr)
        return 1
    new = LOCK.with_suffix(".new")
    new.write_text(lock_text(sets), "utf-8")
    os.replace(new, LOCK)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
