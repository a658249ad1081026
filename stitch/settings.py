"""One TOML file and the environment, made into typed settings, with every mistake reported at once.

The file holds values only: where things are, what an event looks like, and the counters. Each value can be
overridden by the environment (`STITCH_REALTIME__PORT=9043`); secrets (passwords) are taken from there alone,
so that no file and no process list shows them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from stitch.counters import Counter
from stitch.errors import StitchError

DEFAULT_CONFIG = Path("conf/stitch.toml")
_DURATION = re.compile(r"^(\d+)(s|m|h|d)$")
_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class SettingsError(StitchError):
    """The settings cannot be used; the message lists every mistake with its path, and nothing was started."""


def parse_duration(text: Any) -> Any:
    """`"15m"` → fifteen minutes. Other types pass through for pydantic to judge."""
    if not isinstance(text, str):
        return text
    match = _DURATION.match(text)
    if not match or int(match[1]) == 0:
        raise ValueError(f'{text!r} is not a duration: write a number and s, m, h or d, such as "1h"')
    return timedelta(seconds=int(match[1]) * _UNIT[match[2]])


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
OptionalDuration = Annotated[
    timedelta, BeforeValidator(lambda text: timedelta(0) if text == "0s" else parse_duration(text))
]
Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")]
Port = Annotated[int, Field(ge=1, le=65535)]


class Section(BaseModel):
    """A table of the file: an unknown name in it is a mistake, not a comment."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class KafkaSettings(Section):
    bootstrap_servers: str = "127.0.0.1:19092"
    topic: str = Field(default="events", pattern=r"^[A-Za-z0-9._-]{1,249}$")
    partitions: int = Field(default=8, ge=1)


class CassandraSettings(Section):
    """One layer's cluster. `password` comes from the environment only."""

    hosts: list[str] = ["127.0.0.1"]
    port: Port = 19042
    keyspace: Identifier
    datacenter: str = "datacenter1"
    username: str | None = None
    password: str | None = None


class RealtimeSettings(CassandraSettings):
    keyspace: Identifier = "stitch_realtime"
    retention: Duration = timedelta(days=14)


class BatchSettings(CassandraSettings):
    """`max_difference`: the share of a counter's events by which a run may change what readers saw before it, without
    being accepted by a person; a difference of fewer than `min_difference` never stops a run."""

    keyspace: Identifier = "stitch_batch"
    max_difference: float = Field(default=0.1, ge=0)
    min_difference: int = Field(default=1000, ge=0)


class StreamingSettings(Section):
    ingest_window: Duration = timedelta(hours=1)
    watermark: Duration = timedelta(days=1)
    trigger: Duration = timedelta(seconds=2)
    max_offsets_per_trigger: int = Field(default=500_000, ge=1)
    checkpoint: str = ".local/checkpoints/streaming_counts"
    deduplicate: bool = False
    retry_for: Duration = timedelta(minutes=10)

    @model_validator(mode="after")
    def ingest_windows_fill_an_hour(self) -> StreamingSettings:
        if 3600 % self.ingest_window.total_seconds():
            raise ValueError(
                "ingest_window: must divide an hour (1h, 1m, 10s, …), so that cutoffs fall on bucket edges"
            )
        return self


class LogSettings(Section):
    """The event log. `origin` says who wrote it: this topic's archive, or JSON lines or Parquet of other origin."""

    path: str = ".local/log"
    snapshots: str = ".local/snapshots"
    keep_snapshots: int = Field(default=7, ge=1)
    exclusions: str = ".local/exclusions.jsonl"
    checkpoint: str = ".local/checkpoints/archive_events"
    origin: Literal["archive", "json", "parquet"] = "archive"
    ingest_time: str = "column:ingested_at"
    lookback: Duration = timedelta(days=2)
    grace: Duration = timedelta(seconds=5)
    trigger: Duration = timedelta(seconds=10)


class EventSettings(Section):
    """Where an event's fields are (dotted paths into its JSON), and their types (string unless said)."""

    event_id: str = "event_id"
    type: str = "type"
    occurred_at: str = "occurred_at"
    max_future: Duration = timedelta(days=1)
    paths: dict[Identifier, str] = {}
    types: dict[Identifier, Literal["string", "int", "double", "boolean"]] = {}


class TokenSettings(Section):
    """Who may read what: the SHA-256 of a token (`stitch token` makes one), and the counters it reads (all by default)."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    counters: list[str] | None = None


class ServingSettings(Section):
    """The reader.

    cache:         how long rows that may still change are answered again without asking the layers (0s: no cache at all)
    cache_closed:  the same where only a batch run can change it; HTTP caches keep such an answer as long
    cache_rows:    how many rows of totals and increments a reader process keeps at most
    memcached:     servers (host:port) of a second cache that all reader processes share
    rate_limit:    requests per token, else address (`600/minute`); None: no limit
    cors_origins:  pages of these origins may read the API ("*": of any)
    trusted_proxies: how many proxies in front add X-Forwarded-For
    tokens:        name → TokenSettings; with none, everybody reads everything
    public:        counters that need no token
    """

    host: str = "127.0.0.1"
    port: Port = 18080
    workers: int = Field(default=1, ge=1)
    threads: int = Field(default=8, ge=1)
    max_keys: int = Field(default=1000, ge=1)
    max_points: int = Field(default=10_000, ge=1)
    timeout: Duration = timedelta(seconds=5)
    cache: OptionalDuration = timedelta(seconds=1)
    cache_closed: Duration = timedelta(hours=1)
    cache_rows: int = Field(default=500_000, ge=1)
    memcached: list[Annotated[str, Field(pattern=r"^[^:\s]+:[0-9]{1,5}$")]] = []
    rate_limit: str | None = Field(default=None, pattern=r"^[1-9][0-9]*/(second|minute|hour|day)$")
    rate_limit_storage: str = "memory://"
    cors_origins: list[str] = []
    trusted_proxies: int = Field(default=0, ge=0)
    tokens: dict[Identifier, TokenSettings] = {}
    public: list[str] = []


class LocalSettings(Section):
    """The Kafka and Cassandra of `stitch local`: their ports, heaps and folder."""

    folder: str = ".local"
    kafka_port: Port = 19092
    kafka_controller_port: Port = 19093
    kafka_heap: str = "384m"
    cassandra_port: Port = 19042
    cassandra_storage_port: Port = 17000
    cassandra_heap: str = "768m"


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="STITCH_", env_nested_delimiter="__", extra="forbid", frozen=True)

    kafka: KafkaSettings = KafkaSettings()
    realtime: RealtimeSettings = RealtimeSettings()
    batch: BatchSettings = BatchSettings()
    streaming: StreamingSettings = StreamingSettings()
    log: LogSettings = LogSettings()
    events: EventSettings = EventSettings()
    serving: ServingSettings = ServingSettings()
    local: LocalSettings = LocalSettings()
    counters: list[Counter] = Field(min_length=1)

    @model_validator(mode="after")
    def counters_have_one_name_each(self) -> Settings:
        names = [counter.name for counter in self.counters]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"counters: named more than once: {', '.join(twice)}")
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
        events = self.events
        paths = {path for path, _ in self.fields.values()} | {events.event_id, events.type, events.occurred_at}
        wrong = [
            f"events.paths: {inner!r} lies within {outer!r}, which is another field's value; a path must end in a value"
            for outer in sorted(paths)
            for inner in sorted(paths)
            if inner.startswith(f"{outer}.")
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
    def fields(self) -> dict[str, tuple[str, str]]:
        """name → (dotted path, type) of every field that a counter reads or the file declares."""
        names = {name for counter in self.counters for name in counter.fields}
        names |= set(self.events.paths) | set(self.events.types)
        return {
            name: (self.events.paths.get(name, name), self.events.types.get(name, "string")) for name in sorted(names)
        }

    def decoder(self, version: int) -> str:
        """A name for how records are decoded: the events' settings and the version of the code that follows them."""
        said = self.events.model_dump(mode="json") | {"fields": self.fields, "version": version}
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]


def load_settings(path: str | Path | None = None) -> Settings:
    """Read the settings of `path`, else of `STITCH_CONFIG`, else of conf/stitch.toml.

    Raises SettingsError with one line per mistake.
    """
    file = Path(path or os.environ.get("STITCH_CONFIG") or DEFAULT_CONFIG)
    try:
        parsed = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"no settings file at {file}: name one with --config or STITCH_CONFIG") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not valid TOML: {error}") from None
    secrets = [
        f"  {layer}.password: a secret; set STITCH_{layer.upper()}__PASSWORD instead"
        for layer in ("realtime", "batch")
        if "password" in parsed.get(layer, {})
    ]
    if secrets:
        raise SettingsError("\n".join([f"{file} cannot be used:", *secrets]))

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
            return env_settings, TomlConfigSettingsSource(settings_cls, toml_file=file)

    try:
        return FromFile()  # type: ignore[call-arg]
    except ValidationError as error:
        lines = [_one_line(mistake) for mistake in error.errors()]
    except ValueError as error:  # an environment variable that is not the JSON it should be
        lines = [f"  {error}"]
    raise SettingsError("\n".join([f"{file} (with the environment) cannot be used:", *lines]))


def _one_line(mistake: Any) -> str:
    path = ".".join(str(part) for part in mistake["loc"])
    message = mistake["msg"].removeprefix("Value error, ")
    if mistake["type"] == "extra_forbidden":
        message = "unknown setting"
    return f"  {path}: {message}" if path else f"  {message}"
