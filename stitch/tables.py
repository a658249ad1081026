"""Every table of Cassandra in one literal: what it answers, its columns and key, and how a row of it comes to be.

The CQL of `stitch schema show` and conf/schema, what `stitch schema apply` makes and compares, what jobs look for when
they start, and the keys by which rows are erased are taken from here, so that none of them can say something else.

To add a column: a line in its table, and a line in CHANGES that adds it to tables that exist. A test then names the
command that writes conf/schema.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple

LayerName = Literal["realtime", "batch"]

KEY_SHARDS = 16  # of the table `keys`; another number would hide the keys that are there already
RANKED_MEMBERS = 1000  # a row of `ranked_members` names so many; buckets with no more members have no list
RANKED_KEYS = 1000  # a row of `ranked_keys` names so many; one that names fewer names all keys of the bucket
CHARTED = ("day", "month", "all")  # of which granularities its buckets are


class Column(NamedTuple):
    name: str
    type: str
    word: str


class Table(NamedTuple):
    """
    question:    what a read of it answers
    row:         what one row holds, and how rows add up
    write_time:  the Cassandra write timestamp of a row, by which the better-informed writer wins
    expires:     whether rows go after realtime.retention, and are compacted by the time they were written
    """

    name: str
    question: str
    row: str
    write_time: str
    columns: tuple[Column, ...]
    partition_key: tuple[str, ...]
    clustering: tuple[str, ...] = ()
    expires: bool = False

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that name a row: partition key, then clustering."""
        return (*self.partition_key, *self.clustering)


class Change(NamedTuple):
    """What a keyspace that is there already needs to come to the tables below, once; kept in `schema_changes`.

    name:   its day and what it does: `2026-11-25 tables carry their question as comment`
    alter:  statements with `{keyspace}`; each must change nothing where it ran before, or where the table is new
            (that a column is there already is no failure)
    """

    name: str
    layer: LayerName
    alter: tuple[str, ...]


_OF_INCREMENTS = "the start of the ingest window (µs) + the movement behind the count (stitch/write_time.py)"
_OF_TOTALS = "the cutoff (µs) + the revision of the run"

_OF_A_BUCKET = (  # what members are told of
    Column("counter", "text", "its name and the id of its definition: plays@3f0c9a1b"),
    Column("key", "text", "what is counted"),
    Column("granularity", "text", "as in totals"),
    Column("bucket", "timestamp", "its start (UTC)"),
)
TABLES: dict[LayerName, tuple[Table, ...]] = {
    "realtime": (
        Table(
            "increments",
            "How much did the key gain, per bucket, in the ingest windows since the cutoff?",
            "the whole contribution of one ingest window, never a delta; a bucket is the sum of its windows",
            _OF_INCREMENTS,
            (
                Column("counter", "text", "its name and the id of its definition: plays@3f0c9a1b"),
                Column("key", "text", "what is counted"),
                Column("ingest_date", "date", "of the ingest window (UTC): expiry follows the order of writing"),
                Column("ingest_window", "timestamp", "its start"),
                Column("bucket", "timestamp", "its start, at the counter's resolution"),
                Column("count", "bigint", "of the ingest window so far"),
            ),
            partition_key=("counter", "key", "ingest_date"),
            clustering=("ingest_window", "bucket"),
            expires=True,
        ),
        Table(
            "member_increments",
            "The same, by member: which of the creator's tracks were played?",
            "as in increments, for one member of the key",
            _OF_INCREMENTS,
            (
                Column("counter", "text", "its name and the id of its definition: plays@3f0c9a1b"),
                Column("key", "text", "what is counted"),
                Column("ingest_date", "date", "of the ingest window (UTC)"),
                Column("ingest_window", "timestamp", "its start"),
                Column("bucket", "timestamp", "its start, at the counter's resolution"),
                Column("member", "text", "a part of the key's count"),
                Column("count", "bigint", "of the ingest window so far"),
            ),
            partition_key=("counter", "key", "ingest_date"),
            clustering=("ingest_window", "bucket", "member"),
            expires=True,
        ),
        Table(
            "progress",
            "How far has the streaming job come?",
            "every record below the offsets is in the increments, or in totals",
            "the clock of the streaming job",
            (
                Column("job", "text", "streaming_counts; with several topics, streaming_counts:TOPIC has the offsets"),
                Column("realtime_through", "timestamp", "freshness, for people"),
                Column("offsets", "map<int, bigint>", "partition → the first offset not counted yet: proof, for jobs"),
                Column("ingest_window", "int", "seconds: the length of all windows here; jobs with another refuse"),
                Column("counters", "set<text>", "those that it counts, as their rows name them"),
            ),
            partition_key=("job",),
        ),
    ),
    "batch": (
        Table(
            "totals",
            "How much did the key count in a bucket?",
            "a count with its own cutoff: every event appended before the cutoff, and none after",
            _OF_TOTALS,
            (
                Column("counter", "text", "its name and the id of its definition: plays@3f0c9a1b"),
                Column("key", "text", "what is counted"),
                Column("granularity", "text", "minute, quarter_hour, hour, day, month or all"),
                Column("bucket", "timestamp", "its start (UTC); that of 'all' is 1970-01-01"),
                Column("count", "bigint", "up to the cutoff"),
                Column("cutoff", "timestamp", "of the last run that touched the row"),
            ),
            partition_key=("counter", "key", "granularity"),
            clustering=("bucket",),
        ),
        Table(
            "member_totals",
            "Which members made up the key's count in a bucket?",
            "as in totals, for one member of the key",
            _OF_TOTALS,
            (
                *_OF_A_BUCKET,
                Column("member", "text", "a part of the key's count"),
                Column("count", "bigint", "up to the cutoff"),
                Column("cutoff", "timestamp", "of the last run that touched the row"),
            ),
            partition_key=("counter", "key", "granularity", "bucket"),
            clustering=("member",),
        ),
        Table(
            "ranked_members",
            "Which members of a bucket counted most?",
            f"the first {RANKED_MEMBERS:,} members of a bucket that has more; an empty list is as good as no row",
            _OF_TOTALS,
            (
                *_OF_A_BUCKET,
                Column("members", "frozen<list<text>>", "by count, the largest first; of equal counts, by name"),
                Column("counts", "frozen<list<bigint>>", "of each of them: no other member has more than the last"),
                Column("cutoff", "timestamp", "up to which all of the bucket was counted"),
            ),
            partition_key=("counter", "key", "granularity", "bucket"),
        ),
        Table(
            "ranked_keys",
            "Which keys of a counter counted most in a bucket?",
            f"the first {RANKED_KEYS:,} keys that count, or all; null where one was erased; no row: no key counts",
            _OF_TOTALS,
            (
                Column("counter", "text", "its name and the id of its definition: plays@3f0c9a1b"),
                Column("granularity", "text", "day, month or all"),
                Column("bucket", "timestamp", "its start (UTC)"),
                Column("keys", "frozen<list<text>>", "by count, the largest first; of equal counts, by name"),
                Column("counts", "frozen<list<bigint>>", "of each of them: no other key has more than the last"),
                Column("cutoff", "timestamp", "up to which all keys of the bucket were counted"),
            ),
            partition_key=("counter", "granularity", "bucket"),
        ),
        Table(
            "cutoffs",
            "Up to where has the batch published this counter?",
            "a definition of a counter; of several that a counter had, readers get the one published last",
            _OF_TOTALS,
            (
                Column("counter", "text", "its name and the id of its definition: plays@3f0c9a1b"),
                Column("cutoff", "timestamp", "totals hold what was appended before"),
                Column("revision", "bigint", "of runs with one cutoff, the later has the larger"),
                Column("definition", "text", "what it was counted by (JSON), for readers with other settings"),
                Column("ranked", "bigint", "the write timestamp of the row, where ranked_members is right with it"),
                Column("charted", "bigint", "the same, where ranked_keys is right with it"),
            ),
            partition_key=("counter",),
        ),
        Table(
            "runs",
            "Which runs made totals, and how far did each come?",
            "a run, a try of its own: of one that died while it was loading, rows may be in the tables",
            "the run's own, and 0 to 3 µs by its state",
            (
                Column("subject", "text", "totals: what runs of it write"),
                Column("write_time", "bigint", "of all that the run writes: cutoff (µs) + revision"),
                Column("cutoff", "timestamp", "up to where it counts"),
                Column("revision", "bigint", "of runs with one cutoff, the later has the larger"),
                Column("kind", "text", "incremental, full, restore or rollup"),
                Column("state", "text", "counting, refused, loading or published"),
                Column("recount", "set<text>", "the counters that it counts from the whole log"),
                Column("counters", "set<text>", "those that its totals have, with the ids of their definitions"),
                Column(
                    "position", "map<text, bigint>", "topic id:partition → the offset up to which it has read the log"
                ),
                Column("reason", "text", "why it was refused, what a person accepted, or why nothing was compared"),
                Column("figures", "map<text, bigint>", "what it read and wrote"),
                Column("noted_at", "timestamp", "when it came to this state, for people"),
                Column("noted_by", "text", "host and process"),
            ),
            partition_key=("subject",),
            clustering=("write_time",),
        ),
        Table(
            "leases",
            "Who writes the totals at this moment?",
            "whoever may, as long as it renews it; another waits until it expires",
            "Cassandra's own: lightweight transactions",
            (
                Column("subject", "text", "totals: as in runs"),
                Column("holder", "text", "an id of its own, that no other process has"),
                Column("named", "text", "host and process, for people"),
                Column("renewed_at", "timestamp", "tells a holder that lives from one that is gone"),
            ),
            partition_key=("subject",),
        ),
        Table(
            "corrections",
            "Why did the count of a day change when the batch came to it?",
            "a run that changed the day",
            _OF_TOTALS,
            (
                Column("counter", "text", "its name and the id of its definition: plays@3f0c9a1b"),
                Column("day", "date", "of the events (UTC)"),
                Column("cutoff", "timestamp", "of the run"),
                Column("revision", "bigint", "of the run"),
                Column(
                    "before", "bigint", "what readers saw: previous totals and the increments that the run replaced"
                ),
                Column("after", "bigint", "what the log gives"),
            ),
            partition_key=("counter",),
            clustering=("day", "cutoff", "revision"),
        ),
        Table(
            "keys",
            "Which keys does the counter have?",
            "a key, in shards, so that no partition holds all; a shard is in order, so a prefix is a slice",
            _OF_TOTALS,
            (
                Column("counter", "text", "its name and the id of its definition: plays@3f0c9a1b"),
                Column("shard", "int", f"a hash of the key, 0 to {KEY_SHARDS - 1}"),
                Column("key", "text", "what is counted"),
            ),
            partition_key=("counter", "shard"),
            clustering=("key",),
        ),
    ),
}

SCHEMA_CHANGES = Table(
    "schema_changes",
    "Which changes of the tables were made in this keyspace, and when?",
    "a change of stitch/tables.py",
    "the clock of whoever made it",
    (
        Column("change", "text", "its day and what it does"),
        Column("made_at", "timestamp", "when `stitch schema apply` had made it"),
    ),
    partition_key=("change",),
)


def quoted(text: str) -> str:
    """A text as CQL writes it."""
    return "'" + text.replace("'", "''") + "'"


CHANGES: tuple[Change, ...] = (
    *(
        Change(
            "2026-11-25 tables carry their question as comment",
            layer,
            tuple(f"ALTER TABLE {{keyspace}}.{table.name} WITH comment = {quoted(table.question)}" for table in tables),
        )
        for layer, tables in TABLES.items()
    ),
    Change(
        "2026-11-27 cutoffs say whether lists of members are right with them",
        "batch",
        ("ALTER TABLE {keyspace}.cutoffs ADD ranked bigint",),
    ),
    Change(
        "2026-11-27 cutoffs say whether ranked keys are right with them",
        "batch",
        ("ALTER TABLE {keyspace}.cutoffs ADD charted bigint",),
    ),
)


def progress_row(job: str, topic: str | None) -> str:
    """The key of the row of `progress` that has the job's offsets of the topic; None: of the only one."""
    return job if topic is None else f"{job}:{topic}"


def table(name: str) -> Table:
    """The table of that name, of either layer; KeyError where there is none."""
    return {table.name: table for tables in TABLES.values() for table in tables}[name]


def lacking(layer: LayerName, found: Mapping[str, Collection[str]]) -> list[str]:
    """The tables (`keys`) and columns (`totals.cutoff`) of the layer that are not in `found`, table → columns."""
    names = []
    for table in TABLES[layer]:
        if table.name not in found:
            names.append(table.name)
        else:
            names += [f"{table.name}.{c.name}" for c in table.columns if c.name not in found[table.name]]
    return sorted(names)
