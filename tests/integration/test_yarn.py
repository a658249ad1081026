"""The command of docs/deploy.md for YARN in cluster deploy mode, on Hadoop's own MiniYARNCluster and MiniDFSCluster:
the driver runs in a container, of which nothing is left."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyspark
import pytest
from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway

from stitch.jars.fetch import fetch_missing
from stitch.jars.sets import YARN
from stitch.java import java_home
from stitch.shipped import PACKAGES as ROOT
from stitch.submit import environment, own_properties
from tests.conftest import write_config

BIN = Path(sys.executable).parent
BARE_PYTHON = Path(sys.base_prefix, "bin/python3.11")
CONFIGURED = {
    "dfs.replication": "1",
    "yarn.minicluster.yarn.nodemanager.resource.memory-mb": "4096",
    "yarn.nodemanager.pmem-check-enabled": "false",
    "yarn.nodemanager.vmem-check-enabled": "false",
    "yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage": "99",
    "yarn.nodemanager.delete.debug-delay-sec": "600",  # the containers' logs stay
    "yarn.scheduler.capacity.maximum-am-resource-percent": "1",
    "yarn.scheduler.capacity.root.queues": "default",
    "yarn.scheduler.capacity.root.default.capacity": "100",
}


@pytest.fixture
def yarn(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """(the URI of an HDFS, the folder of a Hadoop configuration that leads to it and to a YARN of one node)."""
    fetch_missing([YARN])
    folder, spark = tmp_path / "yarn", Path(pyspark.__file__).parent / "jars"
    (folder / "conf").mkdir(parents=True)
    (folder / "core-site.xml").write_text("<configuration/>", "utf-8")
    # Beside what Spark has: two versions of a logger in one class path do not go together.
    wanted = ("minicluster", "junit", "hamcrest", "bouncycastle")
    own = [str(jar) for jar in sorted(YARN.folder.glob("*.jar")) if any(name in jar.name for name in wanted)]
    with (folder / "out.log").open("w") as log:
        port, process = launch_gateway(
            classpath=":".join([str(folder), *own, f"{spark}/*"]),
            javaopts=["-Xmx500m", f"-Dtest.build.data={folder}/data", f"-Dhadoop.log.dir={folder}",
                      "--add-opens=java.base/java.lang=ALL-UNNAMED"],
            java_path=str(java_home() / "bin/java"), redirect_stdout=log, redirect_stderr=log, return_proc=True,
            jarpath=str(next(spark.glob("py4j-*.jar"))), die_on_exit=True, cwd=str(folder),
        )  # fmt: skip
        try:
            gateway = JavaGateway(gateway_parameters=GatewayParameters(port=port))
            hadoop, java = gateway.jvm.org.apache.hadoop, gateway.jvm.java
            conf = hadoop.yarn.conf.YarnConfiguration()
            for name, value in CONFIGURED.items():
                conf.set(name, value)
            files = getattr(hadoop.hdfs, "MiniDFSCluster$Builder")(conf).numDataNodes(1).build()
            files.waitActive()
            root = files.getURI().toString()
            conf.set("fs.defaultFS", root)
            nodes = hadoop.yarn.server.MiniYARNCluster("stitch", 1, 1, 1)
            nodes.init(conf)
            nodes.start()
            assert nodes.waitForNodeManagersToConnect(60_000)
            conf = nodes.getConfig()
            conf.unset("net.topology.node.switch.mapping.impl")  # a class that only these clusters have
            for name in ("core", "hdfs", "yarn"):  # each has defaults of its own, which it must win over
                out = java.io.FileOutputStream(f"{folder}/conf/{name}-site.xml")
                conf.writeXml(out)
                out.close()
            yield root, folder / "conf"
            gateway.shutdown()
        finally:
            process.kill()
            process.wait(30)


def said_by_drivers(tmp_path: Path) -> str:
    """What the drivers printed in their containers."""
    logs = sorted((tmp_path / "yarn/data").rglob("container_*_000001/stdout"))
    return "\n".join(log.read_text("utf-8", errors="replace") for log in logs)


def upload_history(root: str, folder: Path) -> None:
    """Three events and a line that is none, of one day, below /in of the HDFS."""
    lines = [json.dumps({"event_id": f"e{n}", "type": "play", "track_id": "t1", "occurred_at": "2024-02-29T12:00:00Z"})
             for n in range(3)]  # fmt: skip
    (folder / "part-0.json").write_text("\n".join([*lines, "{broken"]), "utf-8")
    shell = [str(java_home() / "bin/java"), "-cp", f"{folder}/yarn:{YARN.folder}/*", "org.apache.hadoop.fs.FsShell"]
    for words in (["-mkdir", "-p", f"{root}/in/day=2024-02-29"],
                  ["-put", str(folder / "part-0.json"), f"{root}/in/day=2024-02-29/"]):  # fmt: skip
        subprocess.run([*shell, *words], check=True, capture_output=True)


@pytest.mark.slow
def test_a_driver_in_a_container_of_yarn_archives_and_is_refused_a_catalog_of_its_own_disk(
    yarn: tuple[str, Path], tmp_path: Path
) -> None:
    root, hadoop_conf = yarn
    subprocess.run(["make", "--silent", "-o", "setup", "pack-driver"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    upload_history(root, tmp_path)
    write_config(
        tmp_path / "stitch.toml",
        log={"kafka": False},
        lake={"warehouse": "lake"},
        sources=[{"name": "history", "path": f"{root}/in", "format": "json", "ingest_time": "folder:day"}],
    )
    not_here = ("spark.driver.host", "spark.driver.bindAddress", "spark.driver.extraJavaOptions")
    own = own_properties([], for_any_master=True)[0]
    properties = [line for line in own.splitlines() if not line.startswith(not_here)]
    (tmp_path / "spark-yarn.conf").write_text("\n".join(properties), "utf-8")
    (tmp_path / "batch-password").write_text("secret", "utf-8")
    command = [
        str(BIN / "spark-submit"), "--master", "yarn", "--deploy-mode", "cluster",
        "--properties-file", "spark-yarn.conf",
        "--archives", f"{ROOT}/dist/stitch-driver.tar.gz#environment", "--files", "stitch.toml,batch-password",
        "--driver-memory", "1g", "--num-executors", "1", "--executor-cores", "1", "--executor-memory", "1g",
    ]  # fmt: skip
    said = {
        "spark.yarn.appMasterEnv.PYTHONPATH": "environment",
        "spark.executorEnv.PYTHONPATH": "environment",
        "spark.pyspark.python": str(BARE_PYTHON),
        "spark.yarn.appMasterEnv.STITCH_BATCH__PASSWORD_FILE": "batch-password",
        "spark.yarn.maxAppAttempts": "1",
        "spark.yarn.jars": f"local:{Path(pyspark.__file__).parent}/jars/*",  # or each start uploads 300 MB of Spark
    }
    catalog = {
        "spark.sql.catalog.lake": "org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.lake.type": "jdbc",
        "spark.sql.catalog.lake.uri": f"jdbc:sqlite:{tmp_path}/catalog.db",  # where a server would be
        "spark.sql.catalog.lake.jdbc.schema-version": "V1",
        "spark.sql.catalog.lake.warehouse": f"{root}/stitch",
        "spark.sql.catalog.lake.cache-enabled": "false",
    }
    env = {**environment(None), "HADOOP_CONF_DIR": str(hadoop_conf)}

    def archive(**options: str) -> int:
        conf = [word for name, value in options.items() for word in ("--conf", f"{name}={value}")]
        asked = [*command, *conf, str(ROOT / "jobs/archive_events.py"), "--config", "stitch.toml", "--available-now"]
        return subprocess.run(asked, env=env, cwd=tmp_path, capture_output=True, timeout=500).returncode

    assert archive(**said, **catalog) == 0, said_by_drivers(tmp_path)
    assert "archive_events source=history files=1 records=4 rejected=1" in said_by_drivers(tmp_path)
    assert archive(**said) != 0
    assert "in cluster deploy mode the catalog that needs no server" in said_by_drivers(tmp_path)
