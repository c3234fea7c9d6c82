"""What is deployed: images, clusters and manifests as those who take them read them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from swarm.config.read import read_experiment

ROOT = Path(__file__).resolve().parents[2]
CLUSTERS = ("cluster.yaml", "deploy/cluster-aws.yaml")
MANIFESTS = ("deploy/rayjob.yaml", "deploy/target.yaml", "deploy/reader.yaml")
KUBERNETES = "1.32"
# The fields that are used of a RayJob (ray.io/v1), by KubeRay's API reference, version 1.7:
# https://docs.ray.io/en/master/cluster/kubernetes/references/api.html
COUNT = {"type": "integer", "minimum": 0}
PARAMS = {"type": "object", "additionalProperties": {"type": "string"}}
TEMPLATE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["spec"],
    "properties": {"metadata": {"type": "object"}, "spec": {"type": "object"}},
}


def closed(required: list[str], **properties: Any) -> dict[str, Any]:
    """Return the schema of an object that holds these properties and no others."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": properties,
    }


CLUSTER = closed(
    ["headGroupSpec"],
    rayVersion={"type": "string"},
    authOptions=closed(["mode"], mode={"enum": ["disabled", "token"]}),
    headGroupSpec=closed(["template"], rayStartParams=PARAMS, template=TEMPLATE),
    workerGroupSpecs={
        "type": "array",
        "items": closed(
            ["groupName", "minReplicas", "maxReplicas", "template"],
            groupName={"type": "string"},
            replicas=COUNT,
            minReplicas=COUNT,
            maxReplicas=COUNT,
            rayStartParams=PARAMS,
            template=TEMPLATE,
        ),
    },
)
RAY_JOB = closed(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata={"type": "object"},
    spec=closed(
        [],
        entrypoint={"type": "string"},
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
        submitterConfig=closed([], backoffLimit=COUNT),
        backoffLimit=COUNT,
        shutdownAfterJobFinishes={"type": "boolean"},
        ttlSecondsAfterFinished=COUNT,
        rayClusterSpec=CLUSTER,
    ),
)


def manifests(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((ROOT / name).read_text(encoding="utf-8")))


def ray_job() -> dict[str, Any]:
    (job,) = [each for each in manifests("deploy/rayjob.yaml") if each["kind"] == "RayJob"]
    return job


def templates() -> list[dict[str, Any]]:
    cluster = ray_job()["spec"]["rayClusterSpec"]
    return [each["template"] for each in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def pods() -> list[dict[str, Any]]:
    """Return every pod that the manifests describe, as a Pod."""
    found = [
        *templates(),
        *(
            each["spec"]["template"]
            for each in manifests("deploy/target.yaml")
            if each["kind"] == "Deployment"
        ),
    ]
    made = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "a", **each["metadata"]},
            "spec": each["spec"],
        }
        for each in found
    ]
    return [*made, *(each for name in MANIFESTS for each in manifests(name) if each["kind"] == "Pod")]


@pytest.mark.parametrize("name", CLUSTERS)
def test_ray_accepts_the_cluster_file(name: str) -> None:
    validate_config(prepare_config(yaml.safe_load((ROOT / name).read_text())))


@pytest.mark.parametrize("name", CLUSTERS)
@pytest.mark.parametrize("key", ["head_start_ray_commands", "worker_start_ray_commands"])
def test_ray_is_started_where_jobs_find_swarm_and_with_a_token(name: str, key: str) -> None:
    commands = yaml.safe_load((ROOT / name).read_text())[key]
    (start,) = [command for command in commands if "ray start" in command]
    assert start.startswith(". ~/swarm-venv/bin/activate && ")
    assert "RAY_AUTH_MODE=token RAY_worker_niceness=0 ray start" in start


def test_the_ray_job_holds_what_kuberay_knows() -> None:
    jsonschema.validate(ray_job(), RAY_JOB)


@pytest.mark.parametrize("name", MANIFESTS)
def test_kubernetes_accepts_the_manifests(name: str) -> None:
    for manifest in manifests(name):
        if manifest["kind"] != "RayJob":
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_kubernetes_accepts_every_pod() -> None:
    for pod in pods():
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_volumes_and_ports_that_are_named_are_there() -> None:
    claims = {each["metadata"]["name"] for each in manifests("deploy/rayjob.yaml") if "Claim" in each["kind"]}
    for pod in pods():
        volumes = {each["name"] for each in pod["spec"].get("volumes", ())}
        claimed = {each["persistentVolumeClaim"]["claimName"] for each in pod["spec"].get("volumes", ())}
        mounted = {
            mount["name"] for each in pod["spec"]["containers"] for mount in each.get("volumeMounts", ())
        }
        assert mounted == volumes
        assert claimed <= claims


def test_every_container_has_the_image_and_the_one_secret() -> None:
    for pod in pods():
        (container,) = pod["spec"]["containers"]
        assert container["image"] == "REGISTRY/swarm:1"
        for variable in container.get("env", ()):
            if "valueFrom" in variable:
                assert variable["valueFrom"] == {"secretKeyRef": {"name": "swarm-target", "key": "api-key"}}


def test_the_job_runs_an_experiment_against_the_service_into_the_volume() -> None:
    entry = ray_job()["spec"]["entrypoint"].split()
    (target,) = re.findall(r"--target http://([\w-]+)\.default\.svc\.cluster\.local:(\d+)", " ".join(entry))
    (service,) = [each for each in manifests("deploy/target.yaml") if each["kind"] == "Service"]
    assert target == (service["metadata"]["name"], str(service["spec"]["ports"][0]["port"]))
    assert entry[:2] == ["swarm", "run"]
    changes = [entry[at + 1] for at, word in enumerate(entry) if word == "--set"]
    read_experiment(ROOT / entry[2].removeprefix("/swarm/"), changes)
    (mount,) = templates()[0]["spec"]["containers"][0]["volumeMounts"]
    assert entry[entry.index("--out") + 1].startswith(mount["mountPath"] + "/")


def test_one_version_of_ray_is_deployed_and_it_is_one_that_the_project_takes() -> None:
    image = re.findall(r"^ARG RAY_VERSION=(.+)$", (ROOT / "Dockerfile").read_text(), re.M)
    pinned = [re.findall(r'ray\[default\]==([\d.]+)"', (ROOT / name).read_text()) for name in CLUSTERS]
    job = ray_job()["spec"]["rayClusterSpec"]["rayVersion"]
    assert [image, *pinned] == [[job], [job], [job]]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (bound,) = [each for each in project["dependencies"] if each.startswith("ray[default]")]
    least = bound.split(">=")[1]
    assert tuple(map(int, job.split("."))) >= tuple(map(int, least.split(".")))
