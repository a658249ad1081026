"""Paths of the settings made absolute: a relative one is meant from the settings file's folder, never the caller's.

An archive from cron, whose directory is $HOME, would otherwise begin a second log. Links are not followed: a mounted
ConfigMap is a link into a folder that the next version removes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel

from stitch.values import PathMark, scheme_of

Model = TypeVar("Model", bound=BaseModel)


def resolved(path: str, folder: Path) -> str:
    """The absolute path; a URI (hdfs://…, s3a://…) as it is."""
    return path if scheme_of(path) else os.path.normpath(folder / os.path.expanduser(path))


def with_paths_resolved(model: Model, folder: Path) -> Model:
    """The settings with every marked path (values.LocalPath, StoragePath) resolved, those of defaults and environment
    too."""
    changed: dict[str, Any] = {}
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            changed[name] = with_paths_resolved(value, folder)
        elif isinstance(value, list) and any(isinstance(one, BaseModel) for one in value):
            changed[name] = [with_paths_resolved(one, folder) for one in value]
        elif isinstance(value, str) and is_path(field):
            changed[name] = resolved(value, folder)
    return model.model_copy(update=changed)


def is_path(field: Any) -> bool:
    """Whether the setting is marked as a path, as itself or as one of its types (LocalPath | None)."""
    marks = [
        *field.metadata,
        *(mark for kind in get_args(field.annotation) for mark in getattr(kind, "__metadata__", ())),
    ]
    return any(isinstance(mark, PathMark) for mark in marks)
