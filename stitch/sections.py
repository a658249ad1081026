"""The other tables of the settings file, each a type: what can be set, its unit and its default. Values only.

A duration is text, `"15m"`; a path is relative to the file's folder, and may be the URI of another file system where
Spark reads and writes there. A name that a table does not have is a mistake, not a comment. The clusters' tables stand
in stitch.clusters.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, model_validator

from stitch.values import (
    Duration,
    Identifier,
    JsonPath,
    LocalPath,
    NotBlank,
    OptionalDuration,
    Port,
    Section,
    StoragePath,
    TopicName,
)
from stitch.zones import WeekStart

Epoch = Literal["auto", "s", "ms", "us", "ns"]
SHORTEST_SECRET = 32  # characters; HS256 wants a key as long as its hash


class StreamingSettings(Section):
    ingest_window: Duration = timedelta(hours=1)
    watermark: Duration = timedelta(minutes=10)
    trigger: OptionalDuration = timedelta(seconds=2)
    max_offsets_per_trigger: int = Field(default=500_000, ge=1)
    checkpoint: StoragePath = ".local/checkpoints/streaming_counts"
    deduplicate: bool = False
    retry_for: Duration = timedelta(minutes=10)

    @model_validator(mode="after")
    def ingest_windows_fill_an_hour(self) -> StreamingSettings:
        if 3600 % self.ingest_window.total_seconds():
            raise ValueError(
                "ingest_window: must divide an hour (1h, 1m, 10s, …), so that cutoffs fall on bucket edges"
            )
        return self


class LakeSettings(Section):
    """Where the tables of Apache Iceberg are: the event log, `events`, the published totals, `totals`, and the rules
    for events that are not counted, `exclusions`.

    catalog:    its name in Spark's configuration. What that says of spark.sql.catalog.<catalog> decides; where it says
                nothing, the catalog is a file of SQLite in the warehouse, for one machine
    warehouse:  the folder of that catalog and its tables
    history:    how long maintain_log keeps the log's snapshots, for a rollback
    keep_runs:  the totals of how many published runs are kept, for --restore
    """

    catalog: Identifier = "lake"
    namespace: Identifier = "stitch"
    warehouse: StoragePath = ".local/lake"
    history: Duration = timedelta(days=3)
    keep_runs: int = Field(default=7, ge=1)

    @property
    def events(self) -> str:
        """The name of the event log's table."""
        return f"{self.catalog}.{self.namespace}.events"

    @property
    def totals(self) -> str:
        """The name of the table of totals."""
        return f"{self.catalog}.{self.namespace}.totals"

    @property
    def exclusions(self) -> str:
        """The name of the table of exclusions."""
        return f"{self.catalog}.{self.namespace}.exclusions"


class LogSettings(Section):
    """The event log.

    kafka:    whether the topic goes into the log; false: [[sources]] alone do, and there is no real-time layer
    trigger:  how long the archive waits at the end of the topic before it looks again
    retention: how long maintain_log keeps records; None: for ever
    """

    kafka: bool = True
    trigger: Duration = timedelta(minutes=5)
    retention: Duration | None = None
    lookback: Duration = timedelta(days=2)
    grace: Duration = timedelta(seconds=5)


class SourceSettings(Section):
    """Events of other origin that archive_events brings into the log, each once: files of a `format` below a folder
    (`path`), or the rows of a `table` that Spark knows by this name.

    ingest_time:  when a record was appended: column:NAME (a field, or a column), or folder:NAME[/NAME] (a date, then
                  perhaps an hour)
    topic:        whose events these are, where there are several topics: they are decoded as that one's
    ignore_deletes: whether rows may be deleted from a table of Iceberg that the log has: they stay in the log
    """

    name: Identifier
    path: StoragePath | None = None
    format: Literal["json", "parquet"] | None = None
    table: Annotated[str, Field(min_length=1)] | None = None
    ingest_time: str = Field(default="column:ingested_at", pattern=r"^(column:[^/]+|folder:[^/.]+(/[^/.]+)?)$")
    topic: TopicName | None = None
    ignore_deletes: bool = False

    @model_validator(mode="after")
    def is_a_folder_or_a_table(self) -> SourceSettings:
        if (self.path is None) == (self.table is None):
            both = "path and table exclude each other" if self.path else "path or table is missing"
            raise ValueError(f'{both}: say `path` and `format` of files, or `table = "catalog.database.name"`')
        if self.path and not self.format:
            raise ValueError('format is missing: "json" (lines) or "parquet"')
        wrong = []
        if self.table and self.format:
            wrong.append("format: belongs to path; Spark knows what a table is made of")
        if self.table and self.ingest_time.startswith("folder:"):
            wrong.append("ingest_time: folder: belongs to path; the partitions of a table are columns: say column:NAME")
        if self.path and self.ignore_deletes:
            wrong.append("ignore_deletes: belongs to table; of files that are gone the log keeps what it has")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


class EventSettings(Section):
    """Where an event's fields are (dotted paths into its JSON), their types (string unless said), and their bounds.

    constant_type: the type of all events, whatever they say; then `type` is not read
    identity:    events that are equal in these fields are one event: the first that was appended counts
    epoch:       the unit of an `occurred_at` that is a number: by its size ("auto"), or said
    max_future:  an event further ahead of its broker timestamp is rejected
    max_past:    an event further behind its broker timestamp is rejected
    max_text:    bytes (UTF-8) of a text field; a longer one is absent
    max_amount:  the largest amount, ±, that one event adds to a counter; a field beyond it is absent
    """

    event_id: JsonPath = "event_id"
    type: JsonPath = "type"
    constant_type: NotBlank | None = None
    occurred_at: JsonPath = "occurred_at"
    identity: list[Identifier] = Field(default=["event_id"], min_length=1)
    epoch: Epoch = "auto"
    max_future: Duration = timedelta(days=1)
    max_past: Duration = timedelta(days=9131)
    max_text: int = Field(default=1024, ge=1, le=32_768)
    max_amount: int = Field(default=10**12, ge=1, le=10**15)
    paths: dict[Identifier, JsonPath] = {}
    types: dict[Identifier, Literal["string", "int", "double", "boolean"]] = {}

    @model_validator(mode="after")
    def a_type_is_said_once(self) -> EventSettings:
        if self.constant_type and self.type != "type":
            raise ValueError("type: is not read where constant_type is set; set one of the two")
        return self


class TopicSettings(Section):
    """One of several topics, and what sets its events apart from [events]; what is None is as it says there.

    read:  whether it is read; false: it is no more, and its records in the log still count
    paths: field → dotted path, of the fields that are elsewhere than [events] says
    """

    name: TopicName
    read: bool = True
    event_id: JsonPath | None = None
    type: JsonPath | None = None
    constant_type: NotBlank | None = None
    occurred_at: JsonPath | None = None
    epoch: Epoch | None = None
    paths: dict[Identifier, JsonPath] = {}

    @model_validator(mode="after")
    def a_type_is_said_once(self) -> TopicSettings:
        if self.constant_type and self.type:
            raise ValueError("type: is not read where constant_type is set; set one of the two")
        return self

    def events(self, others: EventSettings) -> EventSettings:
        """Where the fields of this topic's events are, by what [events] says of them."""
        said = {name: getattr(self, name) for name in ("event_id", "type", "constant_type", "occurred_at", "epoch")}
        changed: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
        if self.type or self.constant_type:
            changed = {"type": "type", "constant_type": None, **changed}
        return others.model_copy(update={**changed, "paths": {**others.paths, **self.paths}})


class TokenSettings(Section):
    """Who may read what: the SHA-256 of a token (`stitch token` makes one), and what it reads (all by default).

    keys, key_prefix: it reads these keys alone, those that begin with the prefix among them
    list_keys:        whether it may ask which keys there are
    """

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    counters: list[str] | None = None
    keys: list[str] | None = None
    key_prefix: str | None = Field(default=None, min_length=1)
    list_keys: bool = False


class NamesSettings(Section):
    """What pages call the values of an event field: keys and members.

    kind:  "country": two-letter codes, which browsers have names for
    table: value → name
    url:   where a page asks for the name of a value that the table lacks, `{key}` being the value; answered as JSON,
           {"name": …}, or as plain text
    """

    kind: Literal["country"] | None = None
    table: dict[str, str] = {}
    url: str | None = Field(default=None, pattern=r"^(https?://[A-Za-z0-9.:\[\]-]+)?/[^\s;,'\"]*\{key\}[^\s;,'\"]*$")


class ServingSettings(Section):
    """The reader.

    admin_port:    a port that /healthz, /readyz and /metrics have instead (None: they are beside the API)
    max_key:       bytes of a key that is asked for; events.max_text says what is counted
    max_reads:     partitions of the layers' tables that are asked for one answer
    max_rows:      rows of totals that one answer may need: buckets, or members of a key that no list decides
    cache:         how long rows that may still change are answered again without asking the layers (0s: no cache at
    all)
    cache_closed:  the same where only a batch run can change it; HTTP caches keep such an answer as long
    cache_bytes:   how many bytes of rows and answers a reader process keeps at most; totals stay until others need the
    room, for when the batch layer is away
    memcached:     servers (host:port) of a second cache that all reader processes share
    rate_limit:    requests per token, else address (`600/minute`); None: no limit
    cors_origins:  pages of these origins may read the API ("*": of any)
    trusted_proxies: how many proxies in front add X-Forwarded-For, -Proto, -Host and -Prefix
    week_start:    the day that weeks begin with
    names:         event field → what pages call its values
    tokens:        name → TokenSettings; with none, and no token_secrets, everybody reads everything
    token_secrets: what signs tokens and links, apart by white space: the first signs, all are accepted
    public:        counters that need no token
    list_public_keys: whether their keys may be listed without a token
    """

    host: str = "127.0.0.1"
    port: Port = 18080
    admin_port: Port | None = None
    workers: int = Field(default=1, ge=1)
    threads: int = Field(default=8, ge=1)
    max_keys: int = Field(default=1000, ge=1)
    max_key: int = Field(default=1024, ge=1)
    max_points: int = Field(default=10_000, ge=1)
    max_reads: int = Field(default=10_000, ge=1)
    max_rows: int = Field(default=100_000, ge=4000)
    timeout: Duration = timedelta(seconds=5)
    cache: OptionalDuration = timedelta(seconds=1)
    cache_closed: Duration = timedelta(hours=1)
    cache_bytes: int = Field(default=128 * 1024 * 1024, ge=1_000_000)
    memcached: list[Annotated[str, Field(pattern=r"^[^:\s]+:[0-9]{1,5}$")]] = []
    rate_limit: str | None = Field(default=None, pattern=r"^[1-9][0-9]*/(second|minute|hour|day)$")
    rate_limit_storage: str = "memory://"
    cors_origins: list[str] = []
    trusted_proxies: int = Field(default=0, ge=0)
    week_start: WeekStart = "monday"
    names: dict[Identifier, NamesSettings] = {}
    tokens: dict[Identifier, TokenSettings] = {}
    token_secrets: SecretStr | None = None
    public: list[str] = []
    list_public_keys: bool = False

    @property
    def signing_secrets(self) -> list[str]:
        """The first signs; what any of them signed is accepted."""
        return self.token_secrets.get_secret_value().split() if self.token_secrets else []

    @model_validator(mode="after")
    def secrets_cannot_be_guessed(self) -> ServingSettings:
        if self.token_secrets and not self.signing_secrets:
            raise ValueError("token_secrets: is set, but holds none: `openssl rand -base64 32` makes one")
        if any(len(secret) < SHORTEST_SECRET for secret in self.signing_secrets):
            raise ValueError(
                f"token_secrets: one has fewer than {SHORTEST_SECRET} characters: `openssl rand -base64 32` makes one"
            )
        return self


class MetricsSettings(Section):
    """Where jobs export their figures for Prometheus (docs/metrics.md); with none of these, nowhere.

    host:        the address that the ports listen on
    streaming_port, archive_port, probe_port: of streaming_counts, archive_events and `stitch probe`, while they run on
    folder:      where a job that ends writes them into a file of its own, for the textfile collector of node_exporter
    pushgateway: the URL of a Pushgateway that a job that ends sends them to
    """

    host: str = "127.0.0.1"
    streaming_port: Port | None = None
    archive_port: Port | None = None
    probe_port: Port | None = None
    folder: LocalPath | None = None
    pushgateway: str | None = Field(default=None, pattern=r"^https?://[^\s/@]+(/[^\s@]*)?$")

    @model_validator(mode="after")
    def ports_are_apart(self) -> MetricsSettings:
        names = ("streaming_port", "archive_port", "probe_port")
        ports = [port for name in names if (port := getattr(self, name)) is not None]
        if len(set(ports)) < len(ports):
            raise ValueError(f"{', '.join(names)}: two jobs on one machine cannot have the same port")
        return self


class LocalSettings(Section):
    """The Kafka and Cassandra of `stitch local`: their ports, heaps and folder."""

    folder: LocalPath = ".local"
    kafka_port: Port = 19092
    kafka_controller_port: Port = 19093
    kafka_heap: str = "384m"
    cassandra_port: Port = 19042
    cassandra_storage_port: Port = 17000
    cassandra_heap: str = "768m"
