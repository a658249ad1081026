"""Definitions of counters: when a counter has another one, under which name its rows are stored, which of several
readers get, and which are counted on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stitch.counters import Counter
from stitch.cutoff import Published
from stitch.definitions import (
    as_text,
    by_definition,
    from_note,
    from_text,
    name_of,
    names_of,
    replacing,
    served,
    stored_names,
    with_earlier,
)
from stitch.settings import Settings, load_settings

MIDNIGHT = datetime(2026, 11, 26, tzinfo=UTC)
FIRST, SECOND = Published(MIDNIGHT, 0), Published(MIDNIGHT + timedelta(days=1), 0)
PLAYS = '[[counters]]\nname = "plays"\nkey = "track_id"\nweights = { play = 1 }\n'
TWO = PLAYS + '[[counters]]\nname = "seconds"\nkey = "creator_id"\nweights = { play = "duration_s" }\n'
EVENTS = '[events]\ntypes = { duration_s = "int", other = "string" }\n'
DEFINITIONS = {
    "nothing": (EVENTS + TWO, ""),
    "its name": (EVENTS + TWO.replace('"plays"', '"listens"'), ""),
    "a third counter": (EVENTS + TWO + PLAYS.replace('"plays"', '"third"'), ""),
    "a field that neither reads": (EVENTS.replace('other = "string"', 'other = "int"') + TWO, ""),
    "what pages call it": (EVENTS + TWO.replace('"plays"', '"plays"\ntitle = "P"\nunit = "p"\nkey_label = "T"'), ""),
    "whether it has a chart": (EVENTS + TWO.replace("play = 1 }", "play = 1 }\nchart = true"), ""),
    "a weight": (EVENTS + TWO.replace("play = 1", "play = 2"), "plays"),
    "a condition": (EVENTS + TWO.replace("play = 1 }", "play = 1 }\nwhere = \"other = 'x'\""), "plays"),
    "a resolution": (EVENTS + TWO.replace("play = 1 }", 'play = 1 }\nresolution = "15m"'), "plays"),
    "the path of its key": (EVENTS + 'paths = { creator_id = "creator.id" }\n' + TWO, "seconds"),
    "the bound of its amounts": (EVENTS + "max_amount = 9\n" + TWO, "seconds"),
    "the identity": (EVENTS + 'identity = ["event_id", "type"]\n' + TWO, "plays seconds"),
    "the bound of texts": (EVENTS + "max_text = 9\n" + TWO, "plays seconds"),
    "the bound of time": (EVENTS + 'max_past = "1d"\n' + TWO, "plays seconds"),
}


@pytest.mark.parametrize(("text", "changed"), DEFINITIONS.values(), ids=DEFINITIONS.keys())
def test_a_counter_has_another_definition_as_soon_as_it_counts_otherwise(
    tmp_path: Path, text: str, changed: str
) -> None:
    before = stored_names(load(tmp_path, EVENTS + TWO))
    now = stored_names(load(tmp_path, text))
    now["plays"] = now.pop("listens", now.get("plays", "")).replace("listens", "plays")
    assert [name for name in before if now[name] != before[name]] == changed.split()


def test_a_field_of_the_identity_is_part_of_every_definition(tmp_path: Path) -> None:
    identity = EVENTS + 'identity = ["event_id", "other"]\n'
    found = [load(tmp_path, text + TWO) for text in (identity, identity + 'paths = { other = "o" }\n')]
    assert [len({stored_names(settings)[name] for settings in found}) for name in ("plays", "seconds")] == [2, 2]


def load(folder: Path, text: str) -> Settings:
    file = folder / "stitch.toml"
    file.write_text(text)
    return load_settings(file)


def test_rows_are_stored_under_the_name_and_the_id_of_the_definition(tmp_path: Path) -> None:
    settings = load(tmp_path, PLAYS)
    ((name, stored),) = stored_names(settings).items()
    assert name == "plays" and stored.startswith("plays@") and len(stored) == len("plays@") + 8
    assert [counter.name for counter in by_definition(settings).counters] == [stored]
    assert (name_of(stored), name_of("plays"), names_of([stored, "plays", "likes@1"])) == (
        "plays", "plays", ["likes", "plays"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("published", "found"),
    [
        ({}, {}),
        ({"plays": FIRST}, {"plays": "plays"}),  # by an earlier version
        ({"plays": FIRST, "plays@2": SECOND}, {"plays": "plays@2"}),
        ({"plays@1": SECOND, "plays@2": FIRST, "likes@1": FIRST}, {"plays": "plays@1", "likes": "likes@1"}),
        ({"plays@1": FIRST, "plays@2": Published(MIDNIGHT, 1)}, {"plays": "plays@2"}),  # at one cutoff
    ],
)
def test_readers_get_the_definition_that_was_published_last(
    published: dict[str, Published], found: dict[str, str]
) -> None:
    assert served(published) == found


def test_a_definition_is_read_as_it_was_written_and_one_of_a_later_version_is_none(tmp_path: Path) -> None:
    settings = load(tmp_path, PLAYS)
    (counter,), (stored,) = settings.counters, by_definition(settings).counters
    assert from_text(as_text(stored)) == from_note(stored.model_dump(mode="json")) == counter
    unreadable = (None, "", "no JSON", as_text(stored).replace("weights", "factors"))
    assert [from_text(text) for text in unreadable] == [None] * 4
    assert from_note({**stored.model_dump(mode="json"), "later": 1}) is None


def test_what_pages_call_a_counter_is_written_nowhere_and_makes_no_other_counter(tmp_path: Path) -> None:
    (called,), (plain,) = (
        by_definition(load(tmp_path, text)).counters for text in (PLAYS + 'title = "Plays"\n', PLAYS)
    )
    assert (called.title, plain.title) == ("Plays", None)
    assert as_text(called) == as_text(plain)  # so that a reader of an earlier version can read it
    assert called.model_dump(mode="json") == plain.model_dump(mode="json")  # the note of a checkpoint
    assert called == plain and from_text(as_text(called)) == load(tmp_path, PLAYS).counters[0]


HOURLY, BY_QUARTERS = PLAYS, PLAYS + 'resolution = "15m"\n'
SUMMED = (
    '[events]\ntypes = { seconds = "int" }\n[[counters]]\nname = "plays"\nkey = "track_id"\n'
    'weights = { play = "seconds" }\n'
)


def published_by(settings: Settings) -> dict[str, Counter | None]:
    return {stored.name: from_text(as_text(stored)) for stored in by_definition(settings).counters}


def test_what_readers_get_is_counted_on_beside_the_new_definition_until_that_is_published(tmp_path: Path) -> None:
    old, new = load(tmp_path, HOURLY), by_definition(load(tmp_path, BY_QUARTERS))
    ((before, _),), (own,) = published_by(old).items(), new.counters
    assert replacing(new, {before: FIRST}) == {own.name: before}
    assert [counter.name for counter in with_earlier(new, published_by(old)).counters] == [own.name, before]
    assert [counter.resolution for counter in with_earlier(new, published_by(old)).counters] == ["15m", "1h"]
    assert replacing(new, {before: FIRST, own.name: SECOND}) == {}
    assert with_earlier(new, {}) == with_earlier(new, {own.name: own}) == new


def test_what_an_earlier_version_published_is_counted_on_under_its_plain_name(tmp_path: Path) -> None:
    settings = by_definition(load(tmp_path, PLAYS))
    (own,) = settings.counters
    assert [c.name for c in with_earlier(settings, {"plays": None}).counters] == [own.name, "plays"]
    assert [c.name for c in by_definition(load(tmp_path, PLAYS), {"plays": "plays"}).counters] == ["plays"]


@pytest.mark.parametrize(
    "text",
    [
        '[events]\npaths = { track_id = "track.id" }\n' + BY_QUARTERS,  # its key is elsewhere
        BY_QUARTERS,  # the field that it sums is no number any more
        '[events]\ntypes = { seconds = "int" }\nmax_text = 9\n' + BY_QUARTERS,
        # of the new one the field has no bound, and beside the old one it would have
        '[events]\ntypes = { seconds = "int" }\n' + BY_QUARTERS + "where = 'seconds > 9'\n",
    ],
)
def test_a_definition_that_would_get_other_counts_now_or_give_them_to_others_is_not_counted_on(
    tmp_path: Path, text: str
) -> None:
    old, new = load(tmp_path, SUMMED), by_definition(load(tmp_path, text))
    assert len(replacing(new, dict.fromkeys(published_by(old), FIRST))) == 1
    assert with_earlier(new, published_by(old)) == new
    same = load(tmp_path, SUMMED.replace("[[counters]]", "max_future = '1d'\n[[counters]]") + 'resolution = "15m"\n')
    assert len(with_earlier(by_definition(same), published_by(old)).counters) == 2


def test_a_counter_that_is_no_longer_in_the_settings_is_not_counted_on(tmp_path: Path) -> None:
    likes = load(tmp_path, PLAYS.replace("plays", "likes"))
    plays = by_definition(load(tmp_path, PLAYS))
    assert with_earlier(plays, published_by(likes)) == plays


LIKES = '[[counters]]\nname = "likes"\nkey = "track_id"\nweights = { like = 1 }\n'
EVENTS_TOPIC = '[[topics]]\nname = "events"\n'
LIKES_TOPIC = '[[topics]]\nname = "likes"\nconstant_type = "like"\nevent_id = "id"\n'


def test_a_definition_changes_with_the_rules_of_topics_that_have_events_for_the_counter_and_with_no_others(
    tmp_path: Path,
) -> None:
    def names(topics: str) -> dict[str, str]:
        return stored_names(load(tmp_path, topics + PLAYS + LIKES))

    one = names("")
    assert names(EVENTS_TOPIC) == one  # the same in another place
    assert names(EVENTS_TOPIC + '[[topics]]\nname = "more"\n') == one  # as the first is read
    assert names(EVENTS_TOPIC + '[[topics]]\nname = "old"\nconstant_type = "skip"\nevent_id = "id"\n') == one
    added = names(EVENTS_TOPIC + LIKES_TOPIC)
    assert added["plays"] == one["plays"] and added["likes"] != one["likes"]
    other = names(EVENTS_TOPIC + '[[topics]]\nname = "more"\npaths = { track_id = "t" }\n')
    assert other["plays"] != one["plays"] and other["likes"] != one["likes"]


@pytest.mark.parametrize(
    ("topics", "counted_on"),
    [
        (EVENTS_TOPIC + LIKES_TOPIC, True),
        (EVENTS_TOPIC + LIKES_TOPIC + '[[topics]]\nname = "more"\nevent_id = "uid"\n', True),
        (LIKES_TOPIC + EVENTS_TOPIC, False),  # which one was there before nobody knows
        (EVENTS_TOPIC + 'event_id = "uid"\n' + LIKES_TOPIC, False),
    ],
)
def test_what_readers_get_is_counted_on_where_topics_are_added_at_the_end_of_the_list(
    tmp_path: Path, topics: str, counted_on: bool
) -> None:
    old, new = load(tmp_path, LIKES), by_definition(load(tmp_path, topics + LIKES))
    ((before, _),), (own,) = published_by(old).items(), new.counters
    assert own.name != before
    assert [one.name for one in with_earlier(new, published_by(old)).counters] == [own.name, *[before] * counted_on]
