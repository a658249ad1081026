"""The settings file as JSON Schema, for editors: names, types, defaults, and what the code says of each.

Secrets are not in it: in the file they are a mistake.
"""

from __future__ import annotations

import inspect
import re
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.json_schema import GenerateJsonSchema

from stitch.settings import Settings
from stitch.values import as_duration

FLAT = ("librdkafka", "jvm", "connector")  # names with dots, which TOML reads as tables in tables
_SAID = re.compile(r"^( {0,4}(?:\w+, )*\w+):[ \t]+(\S.*(?:\n[ \t]{5,}\S.*)*)", re.MULTILINE)


class _Schema(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        return as_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def settings_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the settings file."""
    schema = Settings.model_json_schema(schema_generator=_Schema, by_alias=True)
    for model in _models(Settings):
        found = schema if model is Settings else schema.get("$defs", {}).get(model.__name__)
        if found:
            _describe(model, found)
    for section in schema["properties"].values():
        section.pop("default", None)  # a whole table: its settings say theirs
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": "The settings of Stitch",
            "description": "docs/settings.md has each setting with its meaning"}  # fmt: skip


def _describe(model: type[BaseModel], schema: dict[str, Any]) -> None:
    """Take the secrets out, and put in what the model's docstring says of its settings."""
    doc = inspect.getdoc(model) or ""
    said = {
        name.strip(): re.sub(r"\s+", " ", text)
        for names, text in _SAID.findall(doc)
        for name in names.split(",")
    }  # fmt: skip
    schema["description"] = doc.split("\n\n")[0].replace("\n", " ")
    for name, field in model.model_fields.items():
        if _is_secret(field.annotation):
            schema["properties"].pop(name, None)
            continue
        if name in FLAT:
            schema["properties"][name] = {"type": "object", "default": {}}
        if name in said and name in schema["properties"]:
            schema["properties"][name].setdefault("description", said[name])
    schema.setdefault("additionalProperties", False)


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or SecretStr in getattr(annotation, "__args__", ())


def _models(model: type[BaseModel]) -> set[type[BaseModel]]:
    found = {model}
    waiting: list[Any] = [field.annotation for field in model.model_fields.values()]
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in found:
            found |= {kind}
            waiting += [field.annotation for field in kind.model_fields.values()]
        waiting += getattr(kind, "__args__", ())
    return found
