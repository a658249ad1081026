"""What is wrong with an installation, and what mends it: each check a small function from facts to findings.

Nothing is asked here: stitch.commands.doctor asks the parts, and puts an error in the place of the facts where one does
not answer. So each check is a unit test with literal facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import TypeVar

from stitch.errors import ExitStatus, StitchError
from stitch.health.facts import Facts, Finding, LayerFacts, Level
from stitch.values import as_duration

DAY = timedelta(days=1)
LEAST_FREE, FEW_FREE = 2**30, 10 * 2**30  # bytes
SHORT = {"ONE": 1, "LOCAL_ONE": 1, "TWO": 2, "THREE": 3}

Check = Callable[[Facts], Iterator[Finding]]
T = TypeVar("T")
N = TypeVar("N", bound=str)


def variables(facts: Facts) -> Iterator[Finding]:
    for name, section in facts.variables.items():
        mend = "correct its name, or unset it (`stitch config show` has what is in force)"
        yield Finding("settings", Level.WARNING, f"{name} sets nothing: there is no section {section!r}", mend)


def java(facts: Facts) -> Iterator[Finding]:
    yield _of_machine("java", facts.java)


def jars(facts: Facts) -> Iterator[Finding]:
    if isinstance(facts.jars, StitchError):
        what, _, mend = str(facts.jars).partition(": ")
        mend = f"{mend or 'fetch them'}; else the first job does, which takes a while and needs a way to Maven's"
        yield Finding("jars", Level.WARNING, what, mend)
    else:
        yield Finding("jars", Level.OK, facts.jars)


def disks(facts: Facts) -> Iterator[Finding]:
    for disk in facts.disks:
        where = f"{disk.setting} = {disk.path}"
        free = f"{disk.free / 2**30:.1f} GiB free"
        if not disk.writable:
            yield Finding("disk", Level.PROBLEM, f"{where}: may not be written by this user",
                          f"give it to this user, or set {disk.setting}")  # fmt: skip
        elif disk.free < FEW_FREE:
            level = Level.PROBLEM if disk.free < LEAST_FREE else Level.WARNING
            yield Finding("disk", level, f"{where}: {free}", f"free some, or set {disk.setting} to another disk")
        else:
            yield Finding("disk", Level.OK, f"{where}: {free}")


def topics(facts: Facts) -> Iterator[Finding]:
    """Can the topics be read and counted?"""
    for name, topic, failed in _answered("topic", facts.topics):
        if failed or not topic:
            yield failed or Finding("topic", Level.OK, name)
            continue
        for refusal in topic.refusals:
            what, _, mend = refusal.partition("\n")
            yield Finding("topic", Level.PROBLEM, what, mend.strip() or what)
        if not topic.refusals:
            yield Finding("topic", Level.OK, f"{name}: stamped by the broker, not compacted, and may be read")


def groups(facts: Facts) -> Iterator[Finding]:
    """May the jobs' consumer groups be used?"""
    for name, topic, _ in _answered("groups", facts.topics):
        prefix = facts.settings.kafka.group_prefix
        if topic and topic.groups:
            add = (
                f"kafka-acls.sh --bootstrap-server {facts.settings.kafka.bootstrap_servers} --add --allow-principal "
                f"User:… --group {prefix} --resource-pattern-type prefixed --operation Read"
            )
            yield Finding(
                "groups", Level.PROBLEM, f"{name}: the groups {prefix}-… may not be used: {topic.groups}", add
            )
        elif topic:
            yield Finding("groups", Level.OK, f"{name}: the groups {prefix}-… may be used")


def replicas_of_topics(facts: Facts) -> Iterator[Finding]:
    for name, topic, _ in _answered("replicas", facts.topics):
        if topic and topic.brokers > 1 and min(topic.replicas.values(), default=2) < 2:
            single = sorted(p for p, count in topic.replicas.items() if count < 2)
            mend = "raise it with kafka-reassign-partitions.sh: three are usual, with min.insync.replicas=2"
            what = f"{name}: partitions {single} have one replica on {topic.brokers} brokers: a disk that fails takes "
            yield Finding("topic replicas", Level.WARNING, f"{what}records with it that nothing else has", mend)


def retention_of_topics(facts: Facts) -> Iterator[Finding]:
    """Does the topic keep records until every job has read them, also when one stands still for a while?"""
    settings = facts.settings
    for name, topic, _ in _answered("retention", facts.topics):
        if not topic or not topic.config or "delete" not in topic.config.get("cleanup.policy", "delete"):
            continue
        kept = _milliseconds(topic.config.get("retention.ms", "-1"))
        alter = (
            f"kafka-configs.sh --bootstrap-server {settings.kafka.bootstrap_servers} --alter --entity-type topics "
            f"--entity-name {name} --add-config retention.ms="
        )
        if topic.config.get("retention.bytes", "-1") not in ("-1", ""):
            what = f"{name}: retention.bytes={topic.config['retention.bytes']}: on a busy day records may go unread"
            yield Finding("retention", Level.WARNING, what, f"{alter}… and retention.bytes=-1")
        least = max(2 * DAY, settings.log.lookback)
        if kept is not None and kept < least:
            short = f"kept for {as_duration(kept)}, less than {as_duration(least)}"
            what = f"{name}: {short}: jobs that stand still as long lose some"
            level = Level.PROBLEM if kept < DAY else Level.WARNING
            yield Finding("retention", level, what, f"{alter}{7 * DAY // timedelta(milliseconds=1)}")
        else:
            yield Finding("retention", Level.OK, f"{name}: kept for {as_duration(kept) if kept else 'ever'}")


def retention_of_settings(facts: Facts) -> Iterator[Finding]:
    """Do increments, and the log, live as long as the batch needs them?"""
    settings = facts.settings
    ttl, lookback, kept = settings.realtime.retention, settings.log.lookback, settings.log.retention
    if settings.log.kafka and ttl < max(2 * DAY, lookback):
        what = f"realtime.retention is {as_duration(ttl)}: a batch that fails for so long leaves counts that nobody has"
        yield Finding("retention", Level.WARNING, what, 'set realtime.retention to a week or more ("14d" by default), '
                      "then run `stitch schema apply`")  # fmt: skip
    if kept is not None and kept < lookback:
        what = (
            f"log.retention ({as_duration(kept)}) is shorter than log.lookback ({as_duration(lookback)}): older "
            "duplicates count"
        )
        yield Finding("retention", Level.PROBLEM, what, "raise log.retention, or lower log.lookback")


def tables(facts: Facts) -> Iterator[Finding]:
    for name, layer, failed in _answered("tables", facts.layers):
        if failed or not layer:
            yield failed or Finding("tables", Level.OK, name)
            continue
        for difference in layer.differences:
            yield Finding("tables", Level.PROBLEM, f"{name}: {difference.what}", difference.way_out)
        if not layer.differences:
            yield Finding("tables", Level.OK, f"{name}: as the settings say")


def replication(facts: Facts) -> Iterator[Finding]:
    """Would reads see what was written, also with a node down?"""
    for name, layer, _ in _answered("replication", facts.layers):
        if not layer or layer.factor is None:
            continue
        said = getattr(facts.settings, name)
        reads, writes = (_needed(level, layer.factor) for level in (said.read_consistency, said.write_consistency))
        three = (
            f'set {name}.replication = {{ class = "NetworkTopologyStrategy", {said.datacenter} = 3 }} and run '
            "`stitch schema apply`, then `nodetool repair --full` on every node"
        )
        if layer.down:
            what = f"{name}: down: {', '.join(layer.down)}"
            yield Finding("replication", Level.WARNING, what, "start them: `nodetool status` has all nodes")
        if max(reads, writes) > layer.factor:
            asked = f"{said.read_consistency} and {said.write_consistency}"
            what = f"{name}: {asked} ask for more than {layer.factor} replicas"
            yield Finding("replication", Level.PROBLEM, what, three)
        elif reads + writes <= layer.factor:
            what = (
                f"{name}: of {layer.factor} replicas {writes} are written and {reads} read: reads may miss what was "
                "written"
            )
            yield Finding("replication", Level.PROBLEM, what, f"set {name}.read_consistency and .write_consistency to "
                          "LOCAL_QUORUM")  # fmt: skip
        elif layer.factor < min(3, layer.nodes):
            what = f"{name}: {layer.factor} replica(s) on {layer.nodes} nodes: with a node down, keys cannot be read"
            yield Finding("replication", Level.WARNING, what, three)
        else:
            yield Finding("replication", Level.OK, f"{name}: {layer.factor} replica(s) on {layer.nodes} node(s)")


def clocks(facts: Facts) -> Iterator[Finding]:
    """Cutoffs are the brokers' time: what differs by more than log.grace is taken for late, or for early."""
    grace = facts.settings.log.grace
    mend = "let chrony or ntpd keep the clocks of all machines, or raise log.grace"
    for name, layer, _ in _answered("clocks", facts.layers):
        if layer:
            level = Level.PROBLEM if abs(layer.clock) > max(grace, timedelta(seconds=30)) else Level.WARNING
            off = abs(layer.clock) > grace
            what = f"Cassandra of the {name} layer is {_seconds(layer.clock)} this machine"
            yield Finding("clocks", level, what, mend) if off else Finding("clocks", Level.OK, what)
    for of, topic, _ in _answered("clocks", facts.topics):
        if topic and topic.newest and topic.newest > facts.now + grace:
            what = f"the newest record of {of} is stamped {_seconds(topic.newest - facts.now)} this machine"
            yield Finding("clocks", Level.PROBLEM, what, mend)


def cutoffs(facts: Facts) -> Iterator[Finding]:
    """Do the increments behind the cutoff still live?"""
    batch = facts.layers.get("batch")
    if not isinstance(batch, LayerFacts) or not facts.settings.log.kafka:
        return
    ttl = facts.settings.realtime.retention
    late = {name: facts.now - at for name, at in batch.cutoffs.items() if facts.now - at > ttl / 2}
    if late:
        oldest = max(late.values())
        level = Level.PROBLEM if oldest > ttl else Level.WARNING
        gone = "have expired, and their counts are not known until the batch has run"
        what = (
            f"{', '.join(sorted(late))}: published last {oldest.days} days ago, and increments of "
            f"{ttl.days} days are kept: " + (gone if oldest > ttl else "they expire before long")
        )
        yield Finding("cutoffs", level, what, "run `stitch submit batch_totals`; `stitch status` says how it ended")
    else:
        yield Finding("cutoffs", Level.OK, f"{len(batch.cutoffs)} counters are published" if batch.cutoffs else
                      "nothing is published yet: `stitch submit batch_totals` does, nightly")  # fmt: skip


CHECKS: tuple[Check, ...] = (
    variables, java, jars, disks, topics, groups, replicas_of_topics, retention_of_topics, retention_of_settings,
    tables, replication, clocks, cutoffs,
)  # fmt: skip


def examined(facts: Facts) -> list[Finding]:
    """What all checks find."""
    return [finding for check in CHECKS for finding in check(facts)]


def _answered(check: str, facts: Mapping[N, T | StitchError]) -> Iterator[tuple[N, T | None, Finding | None]]:
    """(name, its facts or None, the finding in their place). One check tells of what does not answer; others skip
    it."""
    for name, found in facts.items():
        if isinstance(found, StitchError):
            yield name, None, _failed(check, name, found)
        else:
            yield name, found, None


def _failed(check: str, name: str, error: StitchError) -> Finding:
    level = Level.AWAY if error.exit_status == ExitStatus.AGAIN else Level.PROBLEM
    what, _, mend = str(error).partition(": ")
    return Finding(check, level, f"{name}: {what}", mend)


def _of_machine(check: str, found: str | StitchError) -> Finding:
    if not isinstance(found, StitchError):
        return Finding(check, Level.OK, found)
    what, _, mend = str(found).partition(". ")
    return Finding(check, Level.PROBLEM, what, mend)


def _needed(level: str, factor: int) -> int:
    return SHORT.get(level) or (factor if level == "ALL" else factor // 2 + 1)


def _milliseconds(text: str) -> timedelta | None:
    return None if int(text) < 0 else timedelta(milliseconds=int(text))


def _seconds(ahead: timedelta) -> str:
    return f"{abs(ahead.total_seconds()):.1f} s {'ahead of' if ahead >= timedelta(0) else 'behind'}"
