"""Set-up fetches the jars of the lock from a mirror on loopback that misbehaves as real ones do: no stack, no
internet."""

from __future__ import annotations

import base64
import hashlib
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from stitch.jars import fetch as fetching
from stitch.jars import sets as jars
from stitch.jars.download import CHUNK
from stitch.jars.errors import JarsError
from stitch.jars.fetch import fetch
from stitch.jars.lock import lock_text
from stitch.jars.repository import MIRROR, repository
from stitch.jars.sets import Jar, JarSet
from tests.certificates import Authority
from tests.mirror import Mirror, serving

SIZE = 300_000
CONTENT = {name: random.Random(name).randbytes(SIZE) for name in ("a", "b", "shared", "later")}
JARS = {
    name: Jar(f"org.example:{name}:1", hashlib.sha256(content).hexdigest(), SIZE) for name, content in CONTENT.items()
}
ONE, TWO = JarSet("one", ("org.example:a:1",)), JarSet("two", ("org.example:b:1",))
BOTH = (ONE, TWO)


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of its own: no jars, a lock of two sets that share one, no proxy, no certificates, no credentials."""
    names = (
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
    )
    for name in (*names, *map(str.lower, names), "NETRC", MIRROR):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(jars, "CACHE", tmp_path / ".cache")
    monkeypatch.setattr(jars, "LOCK", tmp_path / "jars.lock")
    monkeypatch.setattr(fetching, "ALL", BOTH)
    lock({ONE: ["a", "shared"], TWO: ["b", "shared"]})


@pytest.fixture
def mirror(machine: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    made = Mirror({f"/{JARS[name].path}": content for name, content in CONTENT.items()})
    with serving(made) as url:
        monkeypatch.setenv(MIRROR, url)
        yield made


def lock(sets: dict[JarSet, list[str]]) -> None:
    jars.LOCK.write_text(lock_text({chosen: [JARS[name] for name in names] for chosen, names in sets.items()}), "utf-8")


def fetch_all() -> None:
    fetch([chosen for chosen in BOTH if not chosen.complete], repository(), first_pause=0.01)


def fetched(chosen: JarSet) -> dict[str, bytes]:
    """What is in the folder of the set, by the artifact's name."""
    return {file.name.split("_")[1].split("-")[0]: file.read_bytes() for file in chosen.folder.glob("*.jar")}


def part(name: str) -> Path:
    path = jars.CACHE / "jars/parts" / JARS[name].sha256
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def asked_for(mirror: Mirror, name: str) -> list[str | None]:
    """The ranges asked of this jar."""
    return [wanted for path, wanted in mirror.asked if path == f"/{JARS[name].path}"]


def test_a_jar_that_two_sets_share_is_fetched_once_and_a_second_set_up_asks_for_nothing(mirror: Mirror) -> None:
    fetch_all()
    assert fetched(ONE) == {name: CONTENT[name] for name in ("a", "shared")}
    assert fetched(TWO) == {name: CONTENT[name] for name in ("b", "shared")}
    assert len(mirror.asked) == 3 and ONE.complete and TWO.complete and not part("a").exists()
    assert fetching.main() == 0
    assert len(mirror.asked) == 3


def test_whole_sets_need_no_folder_that_can_be_written(mirror: Mirror) -> None:
    assert fetching.main() == 0
    (jars.CACHE / "jars/lock").unlink()
    assert fetching.fetch_missing(BOTH) == [] and not (jars.CACHE / "jars/lock").exists()


def test_an_image_fetches_the_sets_that_it_names(mirror: Mirror, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetching.main(["two"]) == 0
    assert TWO.complete and not ONE.complete
    assert fetching.main(["two", "three"]) == 2
    assert capsys.readouterr().err == "stitch: no jars of three, but of one, two\n"


def test_a_changed_lock_fetches_what_is_new_and_keeps_nothing_else_on_the_class_path(mirror: Mirror) -> None:
    fetch_all()
    (TWO.folder / JARS["b"].file_name).write_bytes(b"damaged")
    lock({ONE: ["later"], TWO: ["b", "shared", "a"]})
    mirror.asked.clear()
    fetch_all()
    assert sorted(path for path, _ in mirror.asked) == [f"/{JARS['b'].path}", f"/{JARS['later'].path}"]
    assert set(fetched(ONE)) == {"later"} and fetched(TWO)["b"] == CONTENT["b"]


def test_a_connection_that_is_cut_is_resumed_where_it_was_as_often_as_it_brings_something(mirror: Mirror) -> None:
    lock({ONE: ["a"], TWO: ["b"]})
    mirror.cuts = [6 * CHUNK, 0, 0, 3 * CHUNK + 1, *[CHUNK] * 4]
    fetch([ONE], repository(), first_pause=0.01)
    begun = [6, 6, 6, 9, 10, 11, 12, 13]  # chunks
    assert asked_for(mirror, "a") == [None, *(f"bytes={count * CHUNK}-" for count in begun)]
    assert fetched(ONE) == {"a": CONTENT["a"]}


def test_a_set_up_that_was_stopped_goes_on_where_it_was(mirror: Mirror) -> None:
    part("a").write_bytes(CONTENT["a"][:200_000])
    fetch_all()
    assert asked_for(mirror, "a") == ["bytes=200000-"] and fetched(ONE)["a"] == CONTENT["a"]


def test_a_mirror_without_ranges_is_read_from_the_start(mirror: Mirror) -> None:
    mirror.ranges = False
    part("a").write_bytes(CONTENT["a"][:200_000])
    fetch_all()
    assert asked_for(mirror, "a") == ["bytes=200000-"] and fetched(ONE)["a"] == CONTENT["a"]


@pytest.mark.parametrize("left", [b"\0" * 1000, b"\0" * SIZE, b"\0" * (SIZE + 1)])
def test_a_beginning_of_another_file_is_replaced(mirror: Mirror, left: bytes) -> None:
    part("a").write_bytes(left)
    fetch_all()
    assert fetched(ONE)["a"] == CONTENT["a"]


@pytest.mark.parametrize(
    "content, hint",
    [
        (CONTENT["a"][:-1] + bytes([CONTENT["a"][-1] ^ 1]), "300,000 bytes"),  # one bit
        (CONTENT["a"] + b"more", "this mirror has another file"),
        (CONTENT["a"][:-1], "299,999 bytes"),
        (b"<html>Please log in</html>", "a page of its own"),
    ],
)
def test_a_file_that_is_not_the_locked_one_is_refused_and_removed(mirror: Mirror, content: bytes, hint: str) -> None:
    mirror.files[f"/{JARS['a'].path}"] = content
    with pytest.raises(JarsError, match=r"org\.example:a:1 from 127\.0\.0\.1:\d+ is not the file.*removed") as told:
        fetch_all()
    assert hint in str(told.value)
    assert "a" not in fetched(ONE) and not part("a").exists() and not ONE.complete


@pytest.mark.parametrize(
    "status, hint",
    [
        (401, r"answered 401.*~/\.netrc \(machine 127\.0\.0\.1 "),
        (403, r"answered 403"),
        (404, r"does not have org/example/\w+/1/.*\(404\): STITCH_MAVEN_MIRROR is to"),
        (407, r"the proxy demands a user and a password. Set HTTPS_PROXY"),
        (503, r"answered 503, 2 times. Try again later"),
    ],
)
def test_an_answer_without_the_jar_is_one_message(
    mirror: Mirror, status: int, hint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stitch.jars.download.ATTEMPTS", 2)
    mirror.status = status
    assert fetching.main() == 1
    told = capsys.readouterr().err
    assert told.startswith("stitch: org.example:") and told.count("\n") == 1
    with pytest.raises(JarsError, match=hint):
        fetch_all()


def test_a_server_that_is_busy_for_a_moment_is_asked_again(mirror: Mirror) -> None:
    lock({ONE: ["a"], TWO: ["b"]})
    mirror.busy = [503, 429]
    fetch([ONE], repository(), first_pause=0.01)
    assert asked_for(mirror, "a") == [None] * 3 and ONE.complete


def test_no_network_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MIRROR, "http://127.0.0.1:1/")
    with pytest.raises(JarsError, match=r"fetched from 127\.0\.0\.1:1: .*refused\. Is there a network\?.*HTTPS_PROXY"):
        fetch_all()


def test_a_full_disk_is_one_message(mirror: Mirror) -> None:
    part("a").symlink_to("/dev/full")
    with pytest.raises(JarsError, match=r"the disk of .*/parts is full: org\.example:a:1 needs"):
        fetch_all()


def test_a_private_authority_is_trusted_where_the_machine_is_told_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path / "tls", "company")
    mirror = Mirror({f"/{JARS[name].path}": content for name, content in CONTENT.items()})
    with serving(mirror, authority.issue("mirror", "127.0.0.1").store_file) as url:
        monkeypatch.setenv(MIRROR, url)
        with pytest.raises(JarsError, match=r"certificate is not trusted \(.*issuer.*\)\. .*set SSL_CERT_FILE"):
            fetch_all()
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
        with pytest.raises(JarsError, match=r"SSL_CERT_FILE=.*none\.pem is no file"):
            fetch_all()
        assert mirror.asked == []
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
        fetch([ONE], repository())
        monkeypatch.delenv("SSL_CERT_FILE")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.ca_file))
        fetch_all()
    assert ONE.complete and TWO.complete


def test_a_proxy_is_used_where_the_machine_names_one(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", os.environ[MIRROR])
    monkeypatch.setenv(MIRROR, "http://repository.example/")
    fetch_all()
    assert ONE.complete


@pytest.mark.parametrize("status, hint", [(407, "demands a user and a password"), (502, "proxy does not answer")])
def test_a_proxy_that_does_not_let_through_is_one_message(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, status: int, hint: str
) -> None:
    mirror.status = status
    monkeypatch.setattr("stitch.jars.download.ATTEMPTS", 2)
    monkeypatch.setenv("HTTPS_PROXY", os.environ[MIRROR])
    monkeypatch.setenv(MIRROR, "https://repository.example/")
    with pytest.raises(JarsError, match=hint):
        fetch_all()
    assert ("repository.example:443", None) in mirror.asked


def test_credentials_come_from_netrc_or_with_the_mirror_and_stand_in_no_message(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password fromfile\n")
    (tmp_path / ".netrc").chmod(0o600)
    fetch([ONE], repository())
    monkeypatch.setenv(MIRROR, os.environ[MIRROR].replace("//", "//me:fromurl@"))
    fetch([TWO], repository())
    sent = {base64.b64decode((text or "").removeprefix("Basic ")) for text in mirror.authorizations}
    assert sent == {b"me:fromfile", b"me:fromurl"}
    mirror.status = 403
    lock({ONE: ["later"], TWO: ["b"]})
    assert fetching.main() == 1
    out = capsys.readouterr()
    assert "2 jars" in out.out and "fromurl" not in out.out + out.err and "me:" not in out.err
