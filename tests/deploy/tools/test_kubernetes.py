"""deploy/kubernetes: built by Kustomize, and read by the schemas of Kubernetes and of the two operators.

It has not run in a cluster: there is none here.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kubeflow_spark_api.models import SparkV1beta2SparkApplication

from stitch.properties import parse

ROOT = Path(__file__).parents[3]
OWN = ROOT / "deploy/kubernetes"
OPERATORS = {"SparkApplication", "ServiceMonitor", "PodMonitor"}
# What Kubernetes or the image has in place of the properties file.
ELSEWHERE = {
    "spark.jars.packages", "spark.executor.instances", "spark.executor.cores", "spark.executor.memory",
    "spark.executor.memoryOverhead", "spark.driver.memory", "spark.driver.bindAddress", "spark.eventLog.dir",
}  # fmt: skip


@pytest.fixture(scope="module")
def resources() -> list[dict[str, Any]]:
    """As Kustomize builds them (tests/deploy/kustomize, which also reads both monitors strictly)."""
    go = shutil.which("go")
    if not go:
        pytest.skip("Kustomize comes as a Go module, and go is not installed")
    command = [go, "run", "-mod=readonly", ".", str(OWN)]
    folder = ROOT / "tests/deploy/kustomize"
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=800)
    assert built.returncode == 0, built.stderr[-3000:]
    return [document for document in yaml.safe_load_all(built.stdout) if document]


def of_kind(resources: list[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    return [resource for resource in resources if resource["kind"] in kinds]


def test_all_that_a_cluster_needs_is_there(resources: list[dict[str, Any]]) -> None:
    kinds = sorted(resource["kind"] for resource in resources)
    assert kinds == sorted([
        "Namespace", "ServiceAccount", "Role", "RoleBinding", "ConfigMap", "SparkApplication", "SparkApplication",
        "CronJob", "CronJob", "CronJob", "Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget",
        "ServiceMonitor", "PodMonitor",
    ])  # fmt: skip


def test_kubernetes_knows_every_field(resources: list[dict[str, Any]]) -> None:
    for resource in resources:
        if resource["kind"] not in OPERATORS:
            kubernetes_validate.validate(resource, "1.31", strict=True)


def test_the_spark_operator_knows_every_field(resources: list[dict[str, Any]]) -> None:
    for resource in of_kind(resources, "SparkApplication"):
        read = SparkV1beta2SparkApplication.from_dict(resource)
        assert read is not None
        assert list(lost(resource, read.to_dict())) == []


def lost(given: Any, read: Any, path: str = "") -> Iterator[str]:
    """The fields of a resource that its model has not taken."""
    if isinstance(given, dict) and isinstance(read, dict):
        for name, value in given.items():
            if name in read:
                yield from lost(value, read[name], f"{path}.{name}")
            else:
                yield f"{path}.{name}"
    elif isinstance(given, list) and isinstance(read, list):
        for number, (one, other) in enumerate(zip(given, read, strict=True)):
            yield from lost(one, other, f"{path}[{number}]")
    elif given != read:
        yield path


def test_a_field_that_there_is_not_is_found() -> None:
    wrong = yaml.safe_load((OWN / "streaming.yaml").read_text("utf-8").split("---")[0])
    wrong["spec"].update(driver={}, executor={"core": 2})
    read = SparkV1beta2SparkApplication.from_dict(wrong)
    assert read is not None and list(lost(wrong, read.to_dict())) == [".spec.executor.core"]


def test_spark_is_configured_as_on_any_cluster(resources: list[dict[str, Any]]) -> None:
    wanted = parse((ROOT / "conf/spark-cluster.conf").read_text("utf-8"))
    for resource in of_kind(resources, "SparkApplication"):
        found = resource["spec"]["sparkConf"]
        assert {name: found.get(name) for name in wanted if name not in ELSEWHERE} == {
            name: value for name, value in wanted.items() if name not in ELSEWHERE
        }


def test_nights_are_tried_again_unless_a_person_must_look(resources: list[dict[str, Any]]) -> None:
    jobs = of_kind(resources, "CronJob")
    times = {job["metadata"]["name"]: job["spec"]["schedule"].split()[1::-1] for job in jobs}
    assert sorted(times, key=lambda name: [int(part) for part in times[name]]) == [
        "maintain-log", "batch-totals", "audit",
    ]  # fmt: skip
    for job in jobs:
        policy = job["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
        (told,) = [rule for rule in policy if rule["action"] == "FailJob"]
        assert told["onExitCodes"] == {"containerName": "job", "operator": "In", "values": [1, 2, 3]}


def pods(resources: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for resource in of_kind(resources, "Deployment"):
        yield resource["spec"]["template"]["spec"]
    for resource in of_kind(resources, "CronJob"):
        yield resource["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def test_no_pod_has_rights_and_each_has_the_settings_of_now(resources: list[dict[str, Any]]) -> None:
    (settings,) = of_kind(resources, "ConfigMap")
    for pod in pods(resources):
        assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
        (container,) = pod["containers"]
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        named = [volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume]
        assert named == [settings["metadata"]["name"]]
    for resource in of_kind(resources, "SparkApplication"):
        assert resource["spec"]["volumes"][0]["configMap"]["name"] == settings["metadata"]["name"]
        assert resource["spec"]["driver"]["securityContext"]["runAsNonRoot"]
