"""One TOML file and the environment, made into typed settings, with every mistake reported at once.

The file holds values only: where things are, what an event looks like, and the counters. Each value can be
overridden by the environment (`STITCH_REALTIME__PORT=9043`). Secrets are taken from there alone, by value
(`STITCH_REALTIME__PASSWORD`) or from a file (`STITCH_REALTIME__PASSWORD_FILE`), so that no settings file shows them.

A relative path, wherever it was said, is meant from the settings file's folder (stitch.paths): a job means the same log
from a shell, from cron and from systemd.
"""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, cast, get_args

from pydantic import BaseModel, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from stitch.clusters import BatchSettings, KafkaSettings, RealtimeSettings
from stitch.counters import Counter
from stitch.decoding import OWN, TOPIC, VERSION, Rules
from stitch.errors import ExitStatus, StitchError
from stitch.fields import Field as RuleOfField
from stitch.origins import Origins
from stitch.paths import resolved, with_paths_resolved
from stitch.sections import (
    EventSettings,
    LakeSettings,
    LocalSettings,
    LogSettings,
    MetricsSettings,
    ServingSettings,
    SourceSettings,
    StreamingSettings,
    TopicSettings,
)

DEFAULT_CONFIGS = (Path("stitch.toml"), Path("conf/stitch.toml"))  # `stitch init` writes the first


class SettingsError(StitchError):
    """The settings cannot be used; the message lists every mistake with its path, and nothing was started."""

    exit_status = ExitStatus.USAGE


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="STITCH_", env_nested_delimiter="__", extra="forbid", frozen=True)

    kafka: KafkaSettings = KafkaSettings()
    realtime: RealtimeSettings = RealtimeSettings()
    batch: BatchSettings = BatchSettings()
    streaming: StreamingSettings = StreamingSettings()
    lake: LakeSettings = LakeSettings()
    log: LogSettings = LogSettings()
    events: EventSettings = EventSettings()
    serving: ServingSettings = ServingSettings()
    metrics: MetricsSettings = MetricsSettings()
    local: LocalSettings = LocalSettings()
    topics: list[TopicSettings] = []
    sources: list[SourceSettings] = []
    counters: list[Counter] = Field(min_length=1)

    @model_validator(mode="after")
    def each_has_a_name_of_its_own(self) -> Settings:
        for section in ("topics", "sources", "counters"):
            names = [one.name for one in getattr(self, section)]
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{section}: named more than once: {', '.join(twice)}")
        return self

    @model_validator(mode="after")
    def topics_are_said_once(self) -> Settings:
        wrong = []
        if self.topics and "topic" in self.kafka.model_fields_set:
            wrong.append("kafka.topic: is of the only topic; [[topics]] names all of them, so name it there")
        if self.topics and self.log.kafka and not self.topics_read:
            wrong.append("topics: none is read; where none is to be, set log.kafka = false")
        for source in self.sources:
            names = ", ".join(self.by_topic)
            if self.topics and source.topic is None:
                wrong.append(f"sources.{source.name}: topic: say whose events these are: one of {names}")
            if source.topic is not None and source.topic not in self.by_topic:
                wrong.append(f"sources.{source.name}: topic: there is no {source.topic!r}, but {names}")
        wrong += [
            f"topics.{topic.name}.paths: {name!r} is no field: no counter reads it, and [events] does not name it"
            for topic in self.topics
            for name in sorted(topic.paths.keys() - self.fields.keys())
        ]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    @model_validator(mode="after")
    def counters_have_types_that_come(self) -> Settings:
        views = self.by_topic.values()
        wrong = [
            f"counters.{counter.name}.weights: no topic has events of these types"
            for counter in self.counters
            if not any(view.may_have_events_of(counter) for view in views)
        ]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    @model_validator(mode="after")
    def scopes_name_counters(self) -> Settings:
        known = {counter.name for counter in self.counters}
        scopes = {
            f"serving.tokens.{name}.counters": token.counters or [] for name, token in self.serving.tokens.items()
        }
        scopes["serving.public"] = self.serving.public
        wrong = [
            f"{path}: no counter {name!r}" for path, names in scopes.items() for name in names if name not in known
        ]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    @model_validator(mode="after")
    def paths_end_in_values(self) -> Settings:
        wrong = []
        for name, view in self.by_topic.items():
            rules = view.rules
            paths = {rules.event_id, rules.type, rules.occurred_at, *(field.path for field in rules.fields)} - {""}
            section = f"topics.{name}" if self.topics else "events"
            wrong += [
                f"{section}.paths: {inner!r} lies within {outer!r}, which is another field's value; a path must end "
                "in a value"
                for outer in sorted(paths)
                for inner in sorted(paths)
                if inner.startswith(f"{outer}.")
            ]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    @model_validator(mode="after")
    def names_of_fields_are_told_apart(self) -> Settings:
        own = {name for names in (self.events.paths, self.events.types) for name in names if name in OWN}
        wrong = [
            f"events: {name!r} is an event's own, a text (occurred_at an instant), and events.{name} is its path"
            for name in sorted(own)
        ]
        names = sorted({*self.fields, *OWN}, key=lambda name: (name.lower(), name))
        wrong += [
            f"counters, events: the fields {one!r} and {other!r} differ by case only: SQL takes them for one"
            for one, other in pairwise(names)
            if one.lower() == other.lower()
        ]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    @model_validator(mode="after")
    def weights_are_bounded(self) -> Settings:
        most = self.events.max_amount
        wrong = [
            f"counters.{counter.name}.weights: {weight} is beyond ±events.max_amount ({most})"
            for counter in self.counters
            for weight in counter.weights.values()
            if isinstance(weight, int) and abs(weight) > most
        ]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    @model_validator(mode="after")
    def weights_are_numbers(self) -> Settings:
        wrong = [
            f"counters.{counter.name}.weights: the field {field!r} is summed, so events.types must say it is an int"
            for counter in self.counters
            for field in counter.weight_fields
            if self.events.types.get(field) != "int"
        ]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def counter(self, name: str) -> Counter:
        """The counter of that name; KeyError where there is none."""
        return {counter.name: counter for counter in self.counters}[name]

    @property
    def by_topic(self) -> dict[str, Settings]:
        """topic → these settings as if it were the only one, with what is said of its events: `kafka.topic`,
        `events`, and so `rules` and `decoder` are its own. The fields are the same of all, and may lie elsewhere in
        each."""
        if not self.topics:
            return {self.kafka.topic: self}
        return {
            topic.name: self.model_copy(update={
                "kafka": self.kafka.model_copy(update={"topic": topic.name}),
                "events": topic.events(self.events),
                "topics": [],
            })
            for topic in self.topics
        }  # fmt: skip

    @property
    def topics_read(self) -> dict[str, Settings]:
        """`by_topic` of the topics that are read from Kafka."""
        left = {topic.name for topic in self.topics if not topic.read}
        return {name: view for name, view in self.by_topic.items() if name not in left}

    def may_have_events_of(self, counter: Counter) -> bool:
        """Whether the topic (of `by_topic`) may have events of types that the counter weighs."""
        return self.events.constant_type is None or self.events.constant_type in counter.weights

    def of_source(self, source: SourceSettings) -> Settings:
        """The settings of the topic whose events the source has."""
        return self if source.topic is None else self.by_topic[source.topic]

    @property
    def identity(self) -> list[str]:
        """What makes two events the same one; of several topics, that they are of one topic, too."""
        return [*self.events.identity, *([TOPIC] if self.topics else [])]

    @property
    def fields(self) -> dict[str, tuple[str, str]]:
        """name → (dotted path, type) of every field that a counter reads or the file declares."""
        names = {name for counter in self.counters for name in counter.fields}
        names |= set(self.events.paths) | set(self.events.types) | (set(self.events.identity) - set(OWN))
        return {
            name: (self.events.paths.get(name, name), self.events.types.get(name, "string")) for name in sorted(names)
        }

    @property
    def rules(self) -> Rules:
        """What decides how a record is decoded (of several topics: by `by_topic`)."""
        events = self.events
        amounts = {name for counter in self.counters for name in counter.weight_fields}

        def most(name: str, kind: str) -> int | None:
            return events.max_text if kind == "string" else events.max_amount if name in amounts else None

        return Rules(
            events.event_id,
            "" if events.constant_type else events.type,
            events.occurred_at,
            tuple(events.identity),
            events.epoch,
            events.max_past // timedelta(microseconds=1),
            events.max_future // timedelta(microseconds=1),
            tuple(RuleOfField(name, path, kind, most(name, kind)) for name, (path, kind) in self.fields.items()),
            events.constant_type,
        )

    @property
    def decoder(self) -> str:
        """A name for how records are decoded: the rules, and the version of the code that follows them."""
        return _digest([VERSION, self.rules.said])


def _digest(said: Any) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]


def settings_file(path: str | Path | None = None) -> Path:
    """The file that is named, else that of `STITCH_CONFIG`, else stitch.toml or conf/stitch.toml in this directory.

    Raises SettingsError where none is named and there is neither.
    """
    if named := path or os.environ.get("STITCH_CONFIG"):
        return Path(named).absolute()
    if found := next((file for file in DEFAULT_CONFIGS if file.exists()), None):
        return found.absolute()
    raise SettingsError(
        f"no settings file in {Path.cwd()} ({' or '.join(map(str, DEFAULT_CONFIGS))}): name one with --config or "
        "STITCH_CONFIG, or let `stitch init` write one"
    )


def load_settings(path: str | Path | None = None) -> Settings:
    """Read the settings of `settings_file(path)`. Raises SettingsError with one line per mistake."""
    file = settings_file(path)
    try:
        text = file.read_text("utf-8")
        parsed = tomllib.loads(text)
    except FileNotFoundError:
        raise SettingsError(f"no settings file at {file}: name one with --config or STITCH_CONFIG") from None
    except OSError as error:
        raise SettingsError(f"the settings file {file} cannot be read: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not valid TOML: {error}") from None
    in_the_file = [path for path in secret_paths(Settings) if _has(parsed, path)]
    if in_the_file:
        lines = [
            f"  {'.'.join(path)}: a secret; set {_variable(path)} (or {_variable(path)}_FILE) instead"
            for path in in_the_file
        ]
        raise SettingsError("\n".join([f"{file} cannot be used:", *lines]))

    class FromFile(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            source = cast(EnvSettingsSource, env_settings)
            source.env_vars = _with_secrets_of_files(source.env_vars, file.parent)
            return source, TomlConfigSettingsSource(settings_cls, toml_file=file)

    try:
        return with_paths_resolved(FromFile(), file.parent)  # type: ignore[call-arg]
    except ValidationError as error:
        origins = Origins(text, os.environ)
        lines = [_one_line(mistake, origins) for mistake in error.errors()]
    except ValueError as error:  # an environment variable that is not the JSON it should be
        lines = [f"  {error}"]
    raise SettingsError("\n".join([f"{file} (with the environment) cannot be used:", *lines]))


def _one_line(mistake: Any, origins: Origins) -> str:
    path = ".".join(str(part) for part in mistake["loc"])
    message = mistake["msg"].removeprefix("Value error, ")
    if mistake["type"] == "extra_forbidden":
        message = "unknown setting"
    kind, where = origins.of(mistake["loc"])
    at = {"file": f" (line {where})", "environment": f" ({where})"}.get(kind, "")
    return f"  {path}: {message}{at}" if path else f"  {message}"


def secret_paths(model: type[BaseModel], within: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of every secret of the settings: ("realtime", "password"), …"""
    found: list[tuple[str, ...]] = []
    for name, field in model.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if kind is SecretStr:
                found.append((*within, name))
            elif isinstance(kind, type) and issubclass(kind, BaseModel):
                found += secret_paths(kind, (*within, name))
    return found


def _with_secrets_of_files(environment: Mapping[str, str | None], folder: Path) -> dict[str, str | None]:
    """The environment (names in lower case) with the secrets that its `…_FILE` variables point at."""
    found = dict(environment)
    for path in secret_paths(Settings):
        name = _variable(path).lower()
        file = found.pop(f"{name}_file", None)
        if file:
            try:
                found[name] = Path(resolved(file, folder)).read_text("utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsError(f"{_variable(path)}_FILE cannot be read: {error}") from None
    return found


def _variable(path: tuple[str, ...]) -> str:
    return "STITCH_" + "__".join(path).upper()


def _has(document: Any, path: tuple[str, ...]) -> bool:
    for part in path:
        if not isinstance(document, dict) or part not in document:
            return False
        document = document[part]
    return True
