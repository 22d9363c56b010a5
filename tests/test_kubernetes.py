"""The manifests: what Kubernetes' own schemas say of them, what they ask for, and that k3net reads what they hold."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from k3net.config import load

ROOT = Path(__file__).parent.parent
KUBERNETES = ROOT / "deploy/kubernetes"
ALL_IN_ONE = KUBERNETES / "all-in-one.yaml"
FOLDERS = ["checker", "clusters"]
VERSIONS = ["1.25", "1.31", "1.37"]
GIVEN = {"status.hostIP": "10.0.0.1", "status.podIP": "10.244.0.2"}


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def resources(folder: str) -> list[dict[str, Any]]:
    kustomization = documents(KUBERNETES / folder / "kustomization.yaml")[0]
    return [each for name in kustomization["resources"] for each in documents(KUBERNETES / folder / name)]


def everything() -> list[dict[str, Any]]:
    return [each for folder in FOLDERS for each in resources(folder)]


def pods(found: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for each in found:
        if "template" in each.get("spec", {}):
            yield each["metadata"]["name"], each["spec"]["template"]


def named(found: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in found if each["kind"] == kind}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_fits_the_schema_of_kubernetes(version):
    for document in everything() + documents(ALL_IN_ONE):
        kubernetes_validate.validate(document, version, strict=True)


def test_a_manifest_that_does_not_fit_would_be_found():
    broken = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"ports": [{"port": "http"}]}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[0], strict=True)


def test_each_folder_lists_each_of_its_files():
    for folder in FOLDERS:
        listed = documents(KUBERNETES / folder / "kustomization.yaml")[0]["resources"]
        there = {path.name for path in (KUBERNETES / folder).glob("*.yaml")} - {"kustomization.yaml"}
        assert set(listed) == there


def test_the_pods_may_do_nothing_that_they_do_not_need():
    for name, template in pods(everything()):
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}, name
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not [each for each in spec["volumes"] if "hostPath" in each], name
        for container in spec["containers"]:
            allowed = container["securityContext"]
            assert allowed["capabilities"] == {"drop": ["ALL"]}
            assert allowed["readOnlyRootFilesystem"] is True
            assert allowed["allowPrivilegeEscalation"] is False


def test_no_volume_is_mounted_inside_another():
    for name, template in pods(everything()):
        paths = [each["mountPath"] for each in template["spec"]["containers"][0]["volumeMounts"]]
        assert not [(a, b) for a in paths for b in paths if a != b and b.startswith(a + "/")], name


def test_selectors_find_their_pods_and_ports_have_the_names_that_are_used():
    for folder in FOLDERS:
        found = resources(folder)
        labels = {name: template["metadata"]["labels"] for name, template in pods(found)}
        ports = {
            name: {port["name"]: port["containerPort"] for port in template["spec"]["containers"][0]["ports"]}
            for name, template in pods(found)
        }
        for name, service in named(found, "Service").items():
            chosen = [pod for pod, has in labels.items() if service["spec"]["selector"].items() <= has.items()]
            assert len(chosen) == 1, name
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports[chosen[0]].keys()
        for name, template in pods(found):
            container = template["spec"]["containers"][0]
            for probe in (container["livenessProbe"], container["readinessProbe"]):
                assert next(iter(probe.values()))["port"] in ports[name]


def test_the_daemon_reads_the_configuration_that_each_pod_mounts(tmp_path):
    for folder in FOLDERS:
        found = resources(folder)
        maps = named(found, "ConfigMap")
        for name, template in pods(found):
            spec = template["spec"]
            container = spec["containers"][0]
            volume = next(each for each in spec["volumes"] if each["name"] == "config")["configMap"]
            path = Path(container["args"][container["args"].index("--config") + 1])
            text = maps[volume["name"]]["data"][path.name]
            file = tmp_path / f"{name}.yaml"
            file.write_text(text)
            loaded = load(str(file), dict(environment(container)), {})
            assert loaded.warnings == (), name
            mounted = {each["mountPath"] for each in container["volumeMounts"]}
            secrets = [word for word in text.replace("[", " ").replace("]", " ").split() if word.startswith("/run/")]
            assert all(str(Path(secret.rstrip(",")).parent) in mounted for secret in secrets)


def environment(container: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for variable in container["env"]:
        if "value" in variable:
            yield variable["name"], variable["value"]
        else:
            field = variable["valueFrom"]["fieldRef"]["fieldPath"]
            yield variable["name"], GIVEN.get(field, "some-name")


def test_a_server_of_the_checker_keeps_what_it_knows_and_a_rollout_waits_for_a_round(tmp_path):
    found = resources("checker")
    (tmp_path / "server.yaml").write_text(named(found, "ConfigMap")["k3net-checker"]["data"]["server.yaml"])
    server = load(str(tmp_path / "server.yaml"), {}, {}).settings
    spec = named(found, "Deployment")["k3net-checker-server"]["spec"]
    pod = spec["template"]["spec"]
    volume = {each["name"]: each for each in pod["volumes"]}
    mounted = {each["mountPath"]: volume[each["name"]] for each in pod["containers"][0]["volumeMounts"]}
    assert server.storage.type == "sqlite"
    assert "emptyDir" in mounted[str(Path(server.storage.sqlite.path).parent)]
    assert spec["minReadySeconds"] > float(server.checker.agent.round)


def test_agents_ping_by_the_safe_sysctl_and_run_on_every_node():
    spec = dict(pods(resources("checker")))["k3net-checker-agent"]["spec"]
    assert spec["securityContext"]["sysctls"] == [{"name": "net.ipv4.ping_group_range", "value": "0 2147483647"}]
    assert spec["tolerations"] == [{"operator": "Exists"}]


def test_the_policy_lets_only_the_same_app_reach_the_internal_port_and_the_load_balancer_leaves_it_out():
    found = resources("clusters")
    policy = named(found, "NetworkPolicy")["k3net-clusters"]["spec"]
    rules = {rule["ports"][0]["port"]: rule.get("from") for rule in policy["ingress"]}
    assert rules == {"internal": [{"podSelector": policy["podSelector"]}], "api": None}
    balancer = named(found, "Service")["k3net-clusters-api"]["spec"]
    assert [port["targetPort"] for port in balancer["ports"]] == ["api"]


@pytest.mark.requires("kubectl")
def test_all_in_one_is_what_kustomize_makes_of_the_checker():
    made = subprocess.run(
        ["kubectl", "kustomize", str(KUBERNETES / "checker")], capture_output=True, text=True, check=True
    ).stdout

    def sorted_by_name(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return sorted(found, key=lambda each: (each["kind"], each["metadata"]["name"]))

    assert sorted_by_name([each for each in yaml.safe_load_all(made) if each]) == sorted_by_name(documents(ALL_IN_ONE))
