"""jars.lock and where jars come from: what is decided before anything is fetched."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from stitch.jars import sets as jars
from stitch.jars.errors import JarsError
from stitch.jars.lock import lock_text, resolved
from stitch.jars.repository import MIRROR, repository
from stitch.jars.sets import ALL, Jar, JarSet
from stitch.properties import parse
from stitch.submit import DEFAULTS

ROOT = Path(__file__).parents[2]
MAVEN = "<settings xmlns='urn:maven'>{}</settings>"
SERVER = "<servers><server><id>us</id><username>{}</username><password>{}</password></server></servers>"


def mirrors(*rows: tuple[str, str]) -> str:
    return "".join(f"<mirror><id>us</id><mirrorOf>{of}</mirrorOf><url>{url}</url></mirror>" for of, url in rows).join(
        ("<mirrors>", "</mirrors>")
    )


def home_with(folder: Path, settings: str) -> Path:
    (folder / ".m2").mkdir()
    (folder / ".m2/settings.xml").write_text(MAVEN.format(settings), "utf-8")
    return folder


@pytest.mark.parametrize("chosen", ALL, ids=lambda chosen: chosen.name)
def test_the_lock_has_every_package_that_the_code_names(chosen: JarSet) -> None:
    locked = {jar.coordinate for jar in chosen.jars}
    assert set(chosen.packages) <= locked
    names = [jar.file_name for jar in chosen.jars]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256) and jar.size > 0 for jar in chosen.jars)


def test_the_lock_has_the_packages_of_the_defaults_of_spark() -> None:
    found = parse(DEFAULTS.read_text("utf-8"))["spark.jars.packages"]
    assert set(found.split(",")) == set(jars.SPARK.packages)


def test_a_lock_of_other_packages_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = JarSet("kafka", ("org.apache.kafka:kafka_2.13:9.9.9",))
    with pytest.raises(JarsError, match=r"9\.9\.9: run `make lock`"):
        _ = newer.jars
    monkeypatch.setattr(jars, "LOCK", tmp_path / "jars.lock")
    with pytest.raises(JarsError, match="cannot be read"):
        _ = jars.KAFKA.jars


@pytest.mark.parametrize(
    "coordinate, path, file_name",
    [
        ("org.lz4:lz4-java:1.8.0", "org/lz4/lz4-java/1.8.0/lz4-java-1.8.0.jar", "org.lz4_lz4-java-1.8.0.jar"),
        (
            "io.netty:netty-epoll:4.1.1.Final:linux-x86_64",
            "io/netty/netty-epoll/4.1.1.Final/netty-epoll-4.1.1.Final-linux-x86_64.jar",
            "io.netty_netty-epoll-4.1.1.Final-linux-x86_64.jar",
        ),
    ],
)
def test_a_coordinate_says_where_a_repository_has_the_jar(coordinate: str, path: str, file_name: str) -> None:
    jar = Jar(coordinate, "", 1)
    assert (jar.path, jar.file_name) == (path, file_name)


def test_what_ivy_resolved_becomes_a_lock_that_is_read_as_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jar").write_bytes(b"jar")
    row = (
        '<module organisation="org.example" name="a"><revision name="1.0"><artifacts>'
        f'<artifact name="a" type="{{}}" location="{tmp_path}/a.jar">'
        '<origin-location location="https://repository/maven/{}"/></artifact></artifacts></revision></module>'
    )
    report = "<ivy-report>{}{}{}</ivy-report>".format(
        row.format("jar", "org/example/a/1.0/a-1.0.jar"),
        row.format("bundle", "org/example/a/1.0/a-1.0-linux.jar"),
        row.format("source", "org/example/a/1.0/a-1.0-sources.jar"),
    )
    digest = hashlib.sha256(b"jar").hexdigest()
    found = resolved(report)
    assert found == [Jar("org.example:a:1.0", digest, 3), Jar("org.example:a:1.0:linux", digest, 3)]
    some = JarSet("some", ("org.example:a:1.0",))
    (tmp_path / "jars.lock").write_text(lock_text({some: found}), "utf-8")
    monkeypatch.setattr(jars, "LOCK", tmp_path / "jars.lock")
    assert list(some.jars) == found
    with pytest.raises(JarsError, match="not where Maven's layout has it"):
        resolved(f"<r>{row.format('jar', 'org/example/b/1.0/a-1.0.jar')}</r>")


def test_a_folder_is_complete_for_the_lock_that_it_was_fetched_by_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jars, "CACHE", tmp_path)
    jars.KAFKA.folder.mkdir(parents=True)
    assert not jars.KAFKA.complete
    jars.KAFKA.mark_complete()
    assert jars.KAFKA.complete
    changed = jars.LOCK.read_text("utf-8").replace("org.apache.kafka:kafka-clients:4.1.2", "org.example:other:1")
    monkeypatch.setattr(jars, "LOCK", tmp_path / "jars.lock")
    jars.LOCK.write_text(changed, "utf-8")
    assert not jars.KAFKA.complete


def test_make_sees_that_the_jars_of_a_set_are_gone() -> None:
    names = " ".join(jars.name for jars in ALL)
    looked_at = f"$(wildcard $(patsubst %,$(JARS)/%/complete.txt,{names}))"
    assert f"ifneq ({len(ALL)},$(words {looked_at}))" in (ROOT / "Makefile").read_text("utf-8")


def test_without_a_mirror_jars_come_from_where_ivy_takes_them(tmp_path: Path) -> None:
    found = repository({}, tmp_path)
    assert found.url.startswith("https://") and found.url.endswith("/") and found.named_by == "Ivy's default"


def test_a_mirror_named_by_the_variable_comes_before_mavens(tmp_path: Path) -> None:
    home = home_with(tmp_path, mirrors(("*", "https://maven.example/m2")))
    found = repository({MIRROR: "https://me:p%40ss@mirror.example:8443/maven"}, home)
    assert (found.url, found.host, found.auth) == (
        "https://mirror.example:8443/maven/", "mirror.example:8443", ("me", "p@ss"),
    )  # fmt: skip
    assert "p@ss" not in repr(found)


@pytest.mark.parametrize(
    "of, taken",
    [("*", True), ("central", True), ("a, central", True), ("external:*", True), ("*,!central", False), ("a", False)],
)
def test_a_mirror_of_the_central_repository_in_mavens_settings_is_taken(tmp_path: Path, of: str, taken: bool) -> None:
    home = home_with(tmp_path, mirrors((of, "https://maven.example/m2")))
    assert (repository({}, home).url == "https://maven.example/m2/") is taken


def test_the_credentials_of_mavens_server_are_taken_from_the_environment_as_maven_does(tmp_path: Path) -> None:
    home = home_with(tmp_path, SERVER.format("me", "${env.WORD}") + mirrors(("*", "https://maven.example/m2")))
    assert repository({"WORD": "secret"}, home).auth == ("me", "secret")


def test_an_encrypted_password_of_maven_is_told(tmp_path: Path) -> None:
    home = home_with(tmp_path, SERVER.format("me", "{COQLCE6DU6GtcS5P=}") + mirrors(("*", "https://maven.example/")))
    with pytest.raises(JarsError, match=r"us in .*settings.xml is encrypted.*STITCH_MAVEN_MIRROR"):
        repository({}, home)


@pytest.mark.parametrize("text", ["ftp://x/", "mirror.example", "https://", "http://h:port/", "https://me:secret@"])
def test_a_mirror_that_is_no_url_is_told_without_its_password(tmp_path: Path, text: str) -> None:
    with pytest.raises(JarsError, match=r"STITCH_MAVEN_MIRROR has .*no http") as told:
        repository({MIRROR: text}, tmp_path)
    assert "secret" not in str(told.value)


def test_settings_of_maven_that_are_not_whole_are_told(tmp_path: Path) -> None:
    with pytest.raises(JarsError, match=r"settings\.xml cannot be read"):
        repository({}, home_with(tmp_path, "<mirrors>"))
