"""Rows of a value that is to be forgotten, deleted from the tables of both layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from cassandra.cluster import Session

from connections.cassandra import WRITE
from stitch.buckets import micros
from stitch.counters import Counter
from stitch.tables import KEY_SHARDS, quoted, table


def delete(cassandra: Session, name: str, rows: list[Any], now: datetime) -> int:
    """Delete rows of the table and of its twin by member, later than whatever wrote them."""
    columns, with_member = table(name).key, table(f"member_{name}").key
    stamp = max([micros(now), *((row.write_time or 0) + 1 for row in rows)])
    of_key = cassandra.prepare(f"DELETE FROM {name} USING TIMESTAMP ? WHERE {_each(columns)}")
    of_member = cassandra.prepare(f"DELETE FROM member_{name} USING TIMESTAMP ? WHERE {_each(with_member)}")
    for row in rows:
        if row.member is None:
            cassandra.execute(of_key, [stamp, *(_utc(row[column]) for column in columns)], execution_profile=WRITE)
        else:
            values = [stamp, *(_utc(row[column]) for column in with_member)]
            cassandra.execute(of_member, values, execution_profile=WRITE)
    return len(rows)


def delete_lists(cassandra: Session, rows: Iterable[Any]) -> None:
    """Delete lists of members."""
    _delete_as_written(cassandra, "DELETE", "ranked_members", rows)


def delete_charts(cassandra: Session, rows: Iterable[Any]) -> None:
    """Delete what lists of keys say. The rows stay: where there is none, no key counts."""
    _delete_as_written(cassandra, "DELETE keys, counts", "ranked_keys", rows)


def _delete_as_written(cassandra: Session, deletion: str, name: str, rows: Iterable[Any]) -> None:
    """Delete from rows of lists. Not later than they were written: the next run may bring them back without the value,
    by an earlier clock than today's, and of two equal write timestamps the deletion wins."""
    columns = table(name).key
    statement = cassandra.prepare(f"{deletion} FROM {name} USING TIMESTAMP ? WHERE {_each(columns)}")
    for row in rows:
        values = [row.write_time, *(_utc(row[column]) for column in columns)]
        cassandra.execute(statement, values, execution_profile=WRITE)


def forget_key(cassandra: Session, counters: Iterable[str], key: str, stamp: int) -> None:
    """Take the key out of the keys that readers list, whichever shard it is in; the write timestamp is later than any
    run's so far, and none writes the key again: it is excluded."""
    statement = cassandra.prepare(f"DELETE FROM keys USING TIMESTAMP ? WHERE {_each(table('keys').key)}")
    for counter in counters:
        for shard in range(KEY_SHARDS):
            cassandra.execute(statement, [stamp, counter, shard, key], execution_profile=WRITE)


def _each(columns: Iterable[str]) -> str:
    return " AND ".join(f"{column} = ?" for column in columns)


def _utc(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


def of_value(known: Mapping[str, Counter], field: str) -> str:
    """The condition on rows that belong to the value, in SQL; the value is `:value`. Of a stored name of which nobody
    knows by what it counts (it was never published), every row that has the value."""
    as_key = [name for name, counter in known.items() if counter.key == field]
    as_member = [name for name, counter in known.items() if counter.member == field]
    return " OR ".join(
        f"({column} = :value AND (counter IN ({_listed(counters)}) OR counter NOT IN ({_listed(known)})))"
        for column, counters in (("key", as_key), ("member", as_member))
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(quoted, sorted(names))) or "NULL"
