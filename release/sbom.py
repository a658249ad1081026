"""The SBOM of a release (CycloneDX 1.6): the packages it was tested with, the jars it fetches, what the wheel bundles.

Python's part is cyclonedx-py's, of an environment that the wheel is installed in with all extras and the pins of the
lock. It knows nothing of jars.lock and serving/static/vendor, which are added here.

    python -m release.sbom ENVIRONMENT/bin/python > stitch_counts-0.2.0.cdx.json
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packageurl import PackageURL

from stitch import __version__
from stitch.extras import DISTRIBUTION
from stitch.jars.assets import FILES
from stitch.jars.sets import CASSANDRA, KAFKA, SPARK, WEB

Component = dict[str, Any]
LICENSES = {"uplot": "MIT", "swagger-ui": "Apache-2.0"}  # of what is bundled; NOTICE says whose


def document(python: str) -> Component:
    """The whole SBOM. Raises ValueError where it is no valid CycloneDX."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator  # takes seconds: with it comes a grammar of URIs

    made = subprocess.run(
        [Path(sys.executable).with_name("cyclonedx-py"), "environment", "--output-reproducible", python],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    found: Component = json.loads(made.stdout)
    own = next(one for one in found["components"] if one["name"] == DISTRIBUTION)
    said = {name: value for name, value in own.items() if name != "externalReferences"}  # the builder's own folder
    found["metadata"]["component"] = {**said, "type": "application", "version": __version__}
    found["components"] = [*(one for one in found["components"] if one != own), *jars(), *bundled()]
    if errors := JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(found)):
        raise ValueError(f"no CycloneDX 1.6: {errors}")
    return found


def jars() -> Iterator[Component]:
    """Every jar that `stitch submit` and `stitch local` fetch, once, with the class paths that have it."""
    sets = {one.name: one.jars for one in (SPARK, KAFKA, CASSANDRA)}  # each reads the lock
    for jar in sorted({jar for found in sets.values() for jar in found}, key=lambda jar: jar.coordinate):
        group, name, version, *classifier = jar.coordinate.split(":")
        purl = PackageURL("maven", group, name, version, {"classifier": classifier[0]} if classifier else None)
        yield {
            "type": "library", "bom-ref": str(purl), "group": group, "name": name, "version": version,
            "purl": str(purl), "scope": "optional", "hashes": [{"alg": "SHA-256", "content": jar.sha256}],
            "properties": [{"name": "stitch:class-path", "value": of} for of, found in sets.items() if jar in found],
        }  # fmt: skip


def bundled() -> Iterator[Component]:
    """What serving/static/vendor has, with its files."""
    for package in WEB.packages:
        _, name, version = package.split(":")
        purl = str(PackageURL("npm", None, name, version))
        files = {file: digest for file, (path, digest) in FILES.items() if path.startswith(f"{name}/{version}/")}
        yield {
            "type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl,
            "licenses": [{"license": {"id": LICENSES[name]}}],
            "components": [
                {"type": "file", "name": f"serving/static/vendor/{file}", "hashes": [{"alg": "SHA-256", "content": of}]}
                for file, of in files.items()
            ],
        }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(document(sys.argv[1]), indent=1))
