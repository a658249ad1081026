"""Properties files are read as Java reads them: the same table, asked of java.util.Properties."""

from __future__ import annotations

from typing import Any

import pytest

from stitch.properties import parse, written
from tests.unit.test_submit import TEXTS


@pytest.mark.parametrize("text", [text for text, _ in TEXTS.values()], ids=TEXTS.keys())
def test_java_reads_the_same_settings_from_the_same_text_and_from_what_is_written(spark: Any, text: str) -> None:
    jvm = spark._jvm

    def read_by_java(text: str) -> dict[str, str]:
        properties = jvm.java.util.Properties()
        properties.load(jvm.java.io.StringReader(text))
        return {name: properties.getProperty(name).strip(" \t") for name in properties.stringPropertyNames()}

    assert read_by_java(text) == parse(text)
    assert read_by_java(written(parse(text))) == parse(text)
