"""`stitch submit`: which arguments go where, and what spark-submit is told of conf/spark-defaults.conf."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from stitch import submit
from stitch.cli import main
from stitch.jars import classes
from stitch.jars import sets as jars
from stitch.java import java_home
from stitch.properties import parse, written
from stitch.submit import DEFAULTS, JOBS, job_command, properties
from stitch.submit_args import SWITCHES, WITH_VALUE, split, taken

ROOT = Path(__file__).parents[2]
TEXTS = {
    "a blank between": ("spark.master local[2]", {"spark.master": "local[2]"}),
    "an equals sign": ("spark.master=local[2]", {"spark.master": "local[2]"}),
    "a colon": ("spark.master: local[2]", {"spark.master": "local[2]"}),
    "tabs, and blanks around it": (" \tspark.master\t = \tlocal[2] \t", {"spark.master": "local[2]"}),
    "more signs in the value": ("a=b=c : d", {"a": "b=c : d"}),
    "comments and empty lines": ("# a b\n\n  ! c d\nspark.x 1 # no comment\n", {"spark.x": "1 # no comment"}),
    "a line that goes on": ("a x,\\\n    y,\\\n\tz\nb 1", {"a": "x,y,z", "b": "1"}),
    "a backslash that is one": (r"a C:\\x" + "\nb 1", {"a": r"C:\x", "b": "1"}),
    "a comment does not go on": ("# a \\\nb 1", {"b": "1"}),
    "escapes": (r"a\ b\:c = \u00e9\t\d", {"a b:c": "é\td"}),
    "a name alone": ("spark.flag\nb 1", {"spark.flag": "", "b": "1"}),
    "the last of two": ("a 1\na 2", {"a": "2"}),
    "lines of other machines": ("a 1\r\nb 2\rc 3", {"a": "1", "b": "2", "c": "3"}),
    "the end is no line end": ("a 1\\", {"a": "1"}),
}


@pytest.mark.parametrize(("text", "settings"), TEXTS.values(), ids=TEXTS.keys())
def test_properties_are_read_as_spark_reads_them(text: str, settings: dict[str, str]) -> None:
    assert parse(text) == settings
    assert parse(written(settings)) == settings


ARGS = {
    "the job's alone": ("--full --counter plays", "", "--full --counter plays"),
    "both mixed": ("--full --master yarn -c a=b --counter plays", "--master yarn -c a=b", "--full --counter plays"),
    "values by an equals sign": ("--master=yarn --cutoff=2026", "--master=yarn", "--cutoff=2026"),
    "switches": ("-v --supervise --json", "-v --supervise", "--json"),
    "a value that looks like one": ("--conf --master", "--conf --master", ""),
    "said by --": ("--master yarn -- --full", "--master yarn", "--full"),
    "all behind -- is the job's": ("-- --value --master x", "", "--value --master x"),
    "help is the job's": ("--help", "", "--help"),
}  # fmt: skip


@pytest.mark.parametrize(("args", "spark", "job"), ARGS.values(), ids=ARGS.keys())
def test_arguments_go_to_spark_submit_or_to_the_job(args: str, spark: str, job: str) -> None:
    assert split(args.split()) == (spark.split(), job.split())


@pytest.mark.parametrize(
    ("args", "message"), [("--full -- --json", "--full is no option"), ("--conf", "needs a value")]
)
def test_arguments_that_cannot_be_told_apart_are_refused(args: str, message: str) -> None:
    with pytest.raises(click.UsageError, match=message):
        split(args.split())


def test_options_that_are_merged_are_taken_out() -> None:
    args = [
        "--jars",
        "a.jar",
        "--conf",
        "spark.jars=b.jar",
        "--conf",
        "x=y",
        "-c",
        "spark.jars=c.jar",
        "--jars=d.jar",
        "-v",
    ]
    assert taken(args, "--jars", "--conf spark.jars") == (
        ["a.jar", "b.jar", "c.jar", "d.jar"], ["--conf", "x=y", "-v"],
    )  # fmt: skip


@pytest.mark.parametrize("job", JOBS)
def test_no_job_has_an_option_of_spark_submits_name(job: str) -> None:
    names = {name for parameter in job_command(job).params for name in parameter.opts}
    assert names & (SWITCHES | WITH_VALUE) == set()


def test_spark_submits_options_are_those_of_the_installed_spark() -> None:
    import pyspark

    jar = next(Path(pyspark.__file__).parent.glob("jars/spark-launcher_*.jar"))
    import zipfile

    parser = zipfile.ZipFile(jar).read("org/apache/spark/launcher/SparkSubmitOptionParser.class")
    known = {name.decode() for name in re.findall(rb"[^-a-z](--?[a-z][a-z-]*)(?=[^-a-z])", parser)}
    assert known - {"--help", "-h"} == SWITCHES | WITH_VALUE


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the jars of Spark, as set-up leaves it."""
    monkeypatch.setattr(jars, "CACHE", tmp_path)
    folder = jars.SPARK.folder
    folder.mkdir(parents=True)
    for name in ("b.jar", "a.jar"):
        (folder / name).touch()
    jars.SPARK.mark_complete()
    return folder


def test_fetched_jars_take_the_place_of_the_packages_they_were_resolved_from(fetched: Path) -> None:
    said = parse(properties(DEFAULTS.read_text("utf-8"), jars.SPARK))
    assert said["spark.jars"] == f"{fetched}/a.jar,{fetched}/b.jar"
    assert said["spark.master"] == "local[2,4]"
    assert [name for name in said if name.startswith("spark.jars.")] == []  # Ivy would tell of its settings on stdout


def test_jars_and_packages_of_ones_own_come_beside_the_fetched_ones(fetched: Path) -> None:
    defaults = DEFAULTS.read_text("utf-8") + "spark.jars = /own/c.jar\nspark.jars.repositories https://example.org\n"
    said = parse(properties(defaults, jars.SPARK, ["/own/d.jar"], ["org.example:mine:1"]))
    assert said["spark.jars"] == f"{fetched}/a.jar,{fetched}/b.jar,/own/c.jar,/own/d.jar"
    assert (said["spark.jars.packages"], said["spark.jars.repositories"]) == (
        "org.example:mine:1",
        "https://example.org",
    )


PLACES = {
    "as shipped": ("", "spark.driver.extraClassPath"),
    "one core": ("--master local", "spark.driver.extraClassPath"),
    "a cluster": ("--master spark://one:7077", "spark.jars"),
    "a cluster, as a property": ("--conf spark.master=yarn", "spark.jars"),
    "executors of their own on this machine": ("--master local-cluster[2,1,1024]", "spark.jars"),
    "a jar of one's own": ("--jars c.jar", "spark.jars"),
    "a package of one's own": ("--packages org.example:mine:1", "spark.jars"),
    "a class path of one's own": ("--driver-class-path /own", "spark.jars"),
    "likewise, as a property": ("--conf spark.driver.extraClassPath=/own", "spark.jars"),
}  # fmt: skip


@pytest.mark.parametrize(("args", "place"), PLACES.values(), ids=PLACES.keys())
def test_fetched_jars_are_on_the_first_class_path_where_no_executor_and_no_jar_needs_them_elsewhere(
    fetched: Path, args: str, place: str
) -> None:
    said = parse(submit.own_properties(args.split())[0])
    assert f"{fetched}/a.jar" in re.split("[:,]", said[place])
    assert len({"spark.driver.extraClassPath", "spark.jars"} & said.keys()) == 1


def test_a_properties_file_for_a_spark_submit_by_hand_is_right_with_any_master(fetched: Path) -> None:
    said = parse(submit.own_properties([], for_any_master=True)[0])
    assert said["spark.jars"] == f"{fetched}/a.jar,{fetched}/b.jar" and "spark.driver.extraClassPath" not in said


def test_a_class_path_in_the_file_is_left_alone(fetched: Path, tmp_path: Path) -> None:
    text = DEFAULTS.read_text("utf-8") + "spark.driver.extraClassPath /own\n"
    (tmp_path / "own.conf").write_text(text, "utf-8")
    said = parse(submit.own_properties(["--properties-file", str(tmp_path / "own.conf")])[0])
    assert said["spark.driver.extraClassPath"] == "/own" and said["spark.jars"] == f"{fetched}/a.jar,{fetched}/b.jar"


def test_a_jvm_is_told_of_the_file_of_classes_where_there_is_one_for_this_java_and_these_jars(
    fetched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classes, "CACHE", jars.CACHE)
    monkeypatch.setenv("SPARK_SUBMIT_OPTS", "-Dmine=1")
    assert submit.environment(None)["SPARK_SUBMIT_OPTS"] == "-Dmine=1"
    made = classes.archive(java_home())
    made.touch()
    assert submit.environment(None)["SPARK_SUBMIT_OPTS"].startswith(f"-XX:SharedArchiveFile={made} ")
    assert submit.environment(None)["SPARK_SUBMIT_OPTS"].endswith(" -Dmine=1")
    (fetched / "c.jar").touch()
    assert submit.environment(None)["SPARK_SUBMIT_OPTS"] == "-Dmine=1"


def test_other_packages_in_the_file_are_left_to_ivy(fetched: Path) -> None:
    more = DEFAULTS.read_text("utf-8").replace("kafka-0-10_2.12:3.5.7", "kafka-0-10_2.12:3.5.7, org.example:mine:1")
    said = parse(properties(more, jars.SPARK))
    assert said["spark.jars.packages"].endswith("3.5.7,org.example:mine:1") and "spark.jars" not in said
    assert said["spark.jars.ivySettings"] == f"{ROOT}/conf/ivysettings.xml"


def test_a_file_without_packages_gets_none(fetched: Path) -> None:
    said = parse(properties("spark.master=yarn\n", jars.SPARK))
    assert said["spark.master"] == "yarn" and not {"spark.jars", "spark.jars.packages"} & set(said)


def test_the_first_job_fetches_the_jars_that_it_needs_and_keeps_stdout_for_itself(
    fetched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(submit, "fetch_missing", lambda sets: print([jars.name for jars in sets]))
    (tmp_path / "own.conf").write_text("spark.jars.packages org.example:mine:1\n")
    submit.own_properties(["--properties-file", str(tmp_path / "own.conf")])  # these are Ivy's to fetch
    assert capsys.readouterr().err == ""
    submit.own_properties([])
    assert capsys.readouterr() == ("", "['spark']\n")


def test_no_path_in_the_shipped_file_is_relative_to_a_directory() -> None:
    values = parse(DEFAULTS.read_text("utf-8")).values()
    assert [value for value in values if re.search(r"(^|=)\.?[a-z]+/", value)] == []


def test_a_properties_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(submit.SubmitError, match=r"--properties-file /.*none\.conf cannot be read"):
        submit.own_properties(["--properties-file", str(tmp_path / "none.conf")])


def test_the_help_of_a_job_is_its_own_and_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(submit.subprocess, "Popen")
    result = CliRunner().invoke(main, ["submit", "batch_totals", "--help"])
    assert (
        result.exit_code == 0 and "Usage: stitch submit batch_totals" in result.output and "--restore" in result.output
    )


@pytest.mark.parametrize("args", [["submit"], ["submit", "nightly"], ["submit", "--full", "batch_totals"]])
def test_what_is_no_job_is_told_with_the_jobs_there_are(args: list[str]) -> None:
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 2 and "streaming_counts, archive_events" in result.stderr


def test_the_settings_file_is_handed_on_by_its_absolute_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "java_home", lambda: Path("/java"))
    monkeypatch.setenv("STITCH_CONFIG", "conf/other.toml")
    assert submit.environment("conf/stitch.toml")["STITCH_CONFIG"] == str(Path("conf/stitch.toml").absolute())
    assert submit.environment(None)["STITCH_CONFIG"] == str(Path("conf/other.toml").absolute())


COMPLETED = {
    ("stitch ba", "ba"): [],
    ("stitch co", "co"): ["config"],
    ("stitch config ", ""): ["check", "schema", "show"],
    ("stitch submit ba", "ba"): ["batch_totals"],
    ("stitch submit batch_totals --fu", "--fu"): ["--full"],
    ("stitch get totals --coun", "--coun"): ["--counters"],
    ("stitch schema check --layer ", ""): ["batch", "realtime"],
}


@pytest.mark.parametrize(("words", "completed"), COMPLETED.items(), ids=[line for line, _ in COMPLETED])
def test_a_shell_completes_commands_jobs_options_and_choices(words: tuple[str, str], completed: list[str]) -> None:
    from click.shell_completion import BashComplete

    line, incomplete = words
    typed = line.split()[1:] if not incomplete else line.split()[1:-1]
    found = BashComplete(main, {}, "stitch", "_STITCH_COMPLETE").get_completions(typed, incomplete)
    assert sorted(item.value for item in found) == completed


CLUSTER = ROOT / "conf/spark-cluster.conf"
OF_ONE_MACHINE = {"spark.master", "spark.driver.defaultJavaOptions", "spark.driver.host"}  # a cluster's file lacks them
OTHERWISE = {"spark.driver.bindAddress", "spark.ui.enabled", "spark.sql.shuffle.partitions"}


def test_the_clusters_properties_are_those_of_one_machine_but_for_what_differs() -> None:
    one, cluster = parse(DEFAULTS.read_text("utf-8")), parse(CLUSTER.read_text("utf-8"))
    assert {name for name in one if name not in cluster} == OF_ONE_MACHINE
    assert {name for name in one if cluster.get(name, one[name]) != one[name]} == OTHERWISE


def test_every_knob_of_the_cluster_stands_in_the_table_of_when_to_turn_it() -> None:
    deploy = (ROOT / "docs/deploy.md").read_text("utf-8")
    rows = re.findall(r"^\| (`spark\..+?) \|", deploy, re.MULTILINE)
    told = [name for row in rows for name in re.findall(r"`(.+?)`", row)]
    one, cluster = parse(DEFAULTS.read_text("utf-8")), parse(CLUSTER.read_text("utf-8"))
    own = [name for name in cluster if name not in one or name in OTHERWISE]
    prefixes = [name.replace("….", "spark.eventLog.").split("…")[0] for name in told]
    quiet = {"spark.driver.bindAddress", "spark.sql.ui.retainedExecutions",
             "spark.sql.streaming.ui.retainedProgressUpdates"}  # fmt: skip
    assert {name for name in own if not any(name.startswith(prefix) for prefix in prefixes)} <= quiet
