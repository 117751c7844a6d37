"""The container files are true to the code: every path, port, option and metric that they name exists."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from realbogus import cli, config
from realbogus.limits import Limits
from realbogus.publish.metrics import PublisherMetrics
from realbogus.publish.outbox import Counts
from realbogus.telemetry import Health, Metrics, serve

PROJECT = Path(__file__).resolve().parent.parent
DOCKER = PROJECT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
INSIDE = "/etc/realbogus/worker.toml"
SAMPLE = re.compile(r"\b(realbogus_[a-z0-9_]+)")


def read(name: str) -> dict[str, Any]:
    found = yaml.safe_load((DOCKER / name).read_text())
    assert isinstance(found, dict)
    return found


COMPOSE = read("compose.yaml")
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if service["image"] == "realbogus")
SETTINGS = config.load(DOCKER / "worker.toml", {})


def instructions(name: str) -> list[str]:
    """The arguments of every such instruction of the Dockerfile, continued lines joined."""
    joined = re.sub(r"\\\n\s*", " ", DOCKERFILE)
    return [line.split(None, 1)[1] for line in joined.splitlines() if line.split(" ")[0] == name]


def parse(arguments: list[str]) -> None:
    """Let the command line judge a call, with the files that exist here."""
    known = [str(DOCKER / "worker.toml") if word == INSIDE else word for word in arguments]
    cli._parser(load=known[0]).parse_args(known)


# -- compose.yaml --------------------------------------------------------------------------------------------------


def test_there_are_services_of_ours() -> None:
    assert OURS == ["publisher", "worker"]
    assert {"kafka", "prometheus"} <= SERVICES.keys()


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_built_here_or_pinned_to_a_version(name: str) -> None:
    service = SERVICES[name]
    if "build" in service:
        context = (DOCKER / service["build"]["context"]).resolve()
        assert context == PROJECT
        assert (context / service["build"]["dockerfile"]).is_file()
    else:
        assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", service["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_volumes_are_declared_and_mounted_files_exist(name: str) -> None:
    for mount in SERVICES[name]["volumes"]:
        source = mount.split(":")[0]
        if source.startswith("."):
            assert (DOCKER / source).is_file()
            assert mount.endswith(":ro")
        else:
            assert source in COMPOSE["volumes"]


def test_names_of_the_environment_are_settings() -> None:
    for name in OURS:
        assert all(config.from_env({variable: "x"}).values for variable in SERVICES[name]["environment"])


def test_no_volume_is_declared_in_vain() -> None:
    used = {mount.split(":")[0] for service in SERVICES.values() for mount in service["volumes"]}
    assert set(COMPOSE["volumes"]) <= used


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_open_on_loopback_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))


@pytest.mark.parametrize("name", OURS)
def test_commands_are_calls_that_the_command_line_takes(name: str) -> None:
    parse(SERVICES[name]["command"])
    assert f"./worker.toml:{INSIDE}:ro" in SERVICES[name]["volumes"]


@pytest.mark.parametrize("name", OURS)
def test_our_services_run_without_rights_on_a_read_only_file_system(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


@pytest.mark.parametrize("name", OURS)
def test_services_get_the_time_that_leaving_takes(name: str) -> None:
    assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > SETTINGS.worker.leave_s


def test_dependencies_are_services_and_those_waited_for_have_a_health_check() -> None:
    for service in SERVICES.values():
        needed = service.get("depends_on", {})
        assert set(needed) <= SERVICES.keys()
        if isinstance(needed, dict):
            assert all("healthcheck" in SERVICES[name] for name in needed)


def test_the_call_in_the_head_of_the_file_is_one_that_the_command_line_takes() -> None:
    calls = re.findall(r"^# +realbogus (.+)$", (DOCKER / "compose.yaml").read_text(), re.MULTILINE)
    assert calls
    for call in calls:
        parse(shlex.split(call))
        assert SERVICES["kafka"]["ports"][0].rpartition(":")[0] in call


# -- Kafka ---------------------------------------------------------------------------------------------------------


def scripts_kafka() -> ModuleType:
    """The script that runs Kafka on this machine, as a module."""
    path = str(PROJECT / "scripts" / "kafka")
    loader = importlib.machinery.SourceFileLoader("scripts_kafka", path)
    spec = importlib.util.spec_from_loader("scripts_kafka", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


def kafka_settings() -> dict[str, str]:
    """The settings as Kafka's image makes them of the environment."""
    environment = SERVICES["kafka"]["environment"]
    return {name.removeprefix("KAFKA_").lower().replace("_", "."): value for name, value in environment.items()}


def test_kafka_is_the_version_that_the_tests_run() -> None:
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{scripts_kafka().VERSION}"


def test_settings_shared_with_the_broker_of_the_tests_are_the_same() -> None:
    lines = scripts_kafka().SETTINGS.splitlines()
    tested = dict(line.split("=", 1) for line in lines)
    compared = ("process.roles", "offsets.topic.replication.factor", "group.initial.rebalance.delay.ms")
    compared += ("transaction.state.log.replication.factor", "transaction.state.log.min.isr", "message.max.bytes")
    assert {name: kafka_settings()[name] for name in compared} == {name: tested[name] for name in compared}


def test_every_listener_has_a_protocol_and_clients_reach_the_one_that_they_are_told() -> None:
    settings = kafka_settings()
    names = {part.split(":")[0] for part in settings["listeners"].split(",")}
    assert names == {part.split(":")[0] for part in settings["listener.security.protocol.map"].split(",")}
    told = dict(part.split("://") for part in settings["advertised.listeners"].split(","))
    assert told["INSIDE"] == SETTINGS.kafka.bootstrap
    assert SERVICES["kafka"]["ports"] == [f"{told['OUTSIDE']}:{told['OUTSIDE'].split(':')[1]}"]


def test_kafka_takes_every_message_that_we_would() -> None:
    assert int(kafka_settings()["message.max.bytes"]) > Limits().message_bytes


def test_outputs_have_as_many_partitions_as_inputs() -> None:
    assert int(kafka_settings()["num.partitions"]) == SETTINGS.output.partitions


# -- worker.toml, ports, health ------------------------------------------------------------------------------------


def test_the_configuration_serves_worker_and_publisher() -> None:
    assert SETTINGS.need_input().group_id
    assert SETTINGS.voevent is not None
    assert SETTINGS.voevent.role == "test"
    assert SETTINGS.publish.archive is not None


def test_everything_is_written_where_a_volume_is() -> None:
    mounted = [mount.split(":")[1] for mount in SERVICES["publisher"]["volumes"] if not mount.endswith(":ro")]
    for path in (SETTINGS.publish.archive, SETTINGS.publish.ledger):
        assert any(str(path).startswith(f"{volume}/") for volume in mounted)
    assert re.search(r"NUMBA_CACHE_DIR=(\S+)", DOCKERFILE)[1] in mounted  # type: ignore[index]


def health_url(service: str) -> str:
    told = SERVICES[service].get("healthcheck", {}).get("test") or DOCKERFILE
    return re.search(r"http://127\.0\.0\.1:\d+/\w+", " ".join(told) if isinstance(told, list) else told)[0]  # type: ignore[index]


def test_health_is_asked_where_it_is_answered() -> None:
    assert health_url("worker") == f"http://127.0.0.1:{SETTINGS.http.port}/livez"
    assert health_url("publisher") == f"http://127.0.0.1:{SETTINGS.publish.port}/healthz"
    assert instructions("EXPOSE") == [f"{SETTINGS.http.port} {SETTINGS.publish.port}"]


def test_the_health_check_tells_a_living_worker_from_a_dead_one() -> None:
    health = Health()
    with serve(Metrics(), health, "127.0.0.1", 0) as address:
        check = re.search(r'CMD \["python", "-c", "(.+)"\]', DOCKERFILE)[1].replace("http://127.0.0.1:9464", address)  # type: ignore[index]
        health.turn()
        assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
        health.clock = lambda: health.turned + 3600 if health.turned else 0.0
        assert subprocess.run([sys.executable, "-c", check], check=False, capture_output=True).returncode != 0


# -- Prometheus ----------------------------------------------------------------------------------------------------


def test_prometheus_asks_the_ports_where_metrics_are() -> None:
    jobs = {job["job_name"]: job for job in read("prometheus.yml")["scrape_configs"]}
    (worker,) = jobs["worker"]["dns_sd_configs"]
    assert (worker["names"], worker["port"]) == (["worker"], SETTINGS.http.port)
    assert jobs["publisher"]["static_configs"][0]["targets"] == [f"publisher:{SETTINGS.publish.port}"]
    assert all("metrics_path" not in job for job in jobs.values())  # the default, /metrics, is ours


def test_rule_files_are_mounted_where_they_are_looked_for() -> None:
    mounts = [mount.split(":")[1] for mount in SERVICES["prometheus"]["volumes"]]
    assert {f"/etc/prometheus/{name}" for name in read("prometheus.yml")["rule_files"]} <= set(mounts)


def exported() -> set[str]:
    """The names of all metrics of a worker and of a publisher."""
    metrics = Metrics()
    metrics.registry.register(PublisherMetrics(Counts()))
    with serve(metrics, Health(), "127.0.0.1", 0) as address:
        text = urllib.request.urlopen(f"{address}/metrics", timeout=5).read().decode()
    return set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))


def unknown(expressions: list[str]) -> set[str]:
    """The metrics named in expressions that nobody exports."""
    used = {name for expression in expressions for name in SAMPLE.findall(expression)}
    assert used
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in used} - exported()


RULES: list[dict[str, Any]] = [rule for group in read("rules.yml")["groups"] for rule in group["rules"]]


def test_rules_use_metrics_that_are_exported_and_jobs_that_are_scraped() -> None:
    expressions = [rule["expr"] for rule in RULES]
    assert not unknown(expressions)
    jobs = {job["job_name"] for job in read("prometheus.yml")["scrape_configs"]}
    assert set(re.findall(r'job="(\w+)"', " ".join(expressions))) <= jobs


def test_rules_use_labels_that_their_metrics_have() -> None:
    known = {name.removeprefix("realbogus_"): set(labels) for name, labels in labels_of(Metrics()).items()}
    for rule in RULES:
        for name, inside in re.findall(r"realbogus_(\w+)\{([^}]*)\}", rule["expr"]):
            if name in known:
                assert set(re.findall(r"(\w+)=", inside)) <= known[name], rule["alert"]


def labels_of(metrics: Metrics) -> dict[str, tuple[str, ...]]:
    """The labels of every plain metric, by its name as it is exported."""
    found = {}
    for one in vars(metrics).values():
        if isinstance(one, MetricWrapperBase):
            name = one._name + ("_total" if one._type == "counter" else "")
            found[name] = one._labelnames
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_every_alarm_has_a_page_that_says_what_to_do(rule: dict[str, Any]) -> None:
    file, _, anchor = rule["annotations"]["runbook"].partition("#")
    text = (PROJECT / file).read_text()
    assert anchor == rule["alert"].lower()
    sections = re.split(r"^## ", text, flags=re.MULTILINE)
    (section,) = [one for one in sections if one.startswith(f"{rule['alert']}\n")]
    assert len(section) > 150
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["labels"]["severity"] in ("page", "notice")


def test_the_runbook_has_no_page_for_an_alarm_that_is_not() -> None:
    text = (PROJECT / "realbogus" / "docs" / "runbook.md").read_text()
    told = set(re.findall(r"^## ([A-Z]\w+)$", text, re.MULTILINE))
    assert told == {rule["alert"] for rule in RULES}


@pytest.mark.parametrize("page", ["runbook.md", "operations.md"])
def test_calls_in_the_documentation_are_calls_that_the_command_line_takes(page: str) -> None:
    text = (PROJECT / "realbogus" / "docs" / page).read_text()
    blocks = re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    calls = [line for block in blocks for line in block.splitlines() if line.startswith("realbogus ")]
    assert calls
    for call in calls:
        parse(shlex.split(re.sub(r" > .*", "", call), comments=True)[1:])


def test_alertmanager_tells_receivers_that_there_are_of_alarms_that_there_are() -> None:
    told = read("alertmanager.yml")
    receivers = {one["name"] for one in told["receivers"]}
    assert {told["route"]["receiver"], *(route["receiver"] for route in told["route"]["routes"])} <= receivers
    named = set(re.findall(r"[A-Z]\w+", " ".join(str(rule) for rule in told["inhibit_rules"])))
    assert named <= {rule["alert"] for rule in RULES}
    (manager,) = read("prometheus.yml")["alerting"]["alertmanagers"]
    host, port = manager["static_configs"][0]["targets"][0].split(":")
    assert SERVICES[host]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert "://" not in (DOCKER / "alertmanager.yml").read_text()  # a URL with a token is a secret


# -- Grafana -------------------------------------------------------------------------------------------------------


DASHBOARD: dict[str, Any] = json.loads((DOCKER / "grafana" / "realbogus.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def test_the_dashboard_shows_metrics_that_are_exported() -> None:
    expressions = [target["expr"] for panel in PANELS for target in panel["targets"]]
    expressions += [one["expr"] for one in DASHBOARD["annotations"]["list"]]
    assert len(expressions) > 20
    assert not unknown(expressions)


def test_every_panel_says_what_it_shows_and_where_from() -> None:
    source = read("grafana/datasources.yaml")["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"]["uid"] == source["uid"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_panels_do_not_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + dx, at["y"] + dy) for dx in range(at["w"]) for dy in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_the_dashboard_is_where_grafana_looks() -> None:
    mounts = dict(mount.split(":")[:2] for mount in SERVICES["grafana"]["volumes"])
    folder = read("grafana/dashboards.yaml")["providers"][0]["options"]["path"]
    assert mounts["./grafana/realbogus.json"].startswith(f"{folder}/")
    assert mounts["./grafana/datasources.yaml"].startswith("/etc/grafana/provisioning/datasources/")
    assert mounts["./grafana/dashboards.yaml"].startswith("/etc/grafana/provisioning/dashboards/")


# -- Kubernetes ----------------------------------------------------------------------------------------------------


OBJECTS: list[dict[str, Any]] = list(yaml.safe_load_all((DOCKER / "kubernetes" / "realbogus.yaml").read_text()))
PODS = {one["metadata"]["name"]: one["spec"]["template"]["spec"] for one in OBJECTS if one["kind"] == "StatefulSet"}


def kubernetes_settings() -> config.Settings:
    """What the pods are told."""
    (text,) = [one["data"]["worker.toml"] for one in OBJECTS if one["kind"] == "ConfigMap"]
    return config.settings(config.from_toml(text))


def test_pods_are_told_a_sound_configuration_without_a_secret() -> None:
    settings = kubernetes_settings()
    assert settings.kafka.secret_files
    assert not config.sections.is_secret(" ".join(settings.kafka.properties))


@pytest.mark.parametrize("name", PODS)
def test_pods_run_our_commands_without_rights_and_are_asked_where_they_answer(name: str) -> None:
    settings, (container,) = kubernetes_settings(), PODS[name]["containers"]
    parse(container["args"])
    assert PODS[name]["securityContext"]["runAsNonRoot"] is True
    for one in (container, *PODS[name].get("initContainers", ())):
        assert one["securityContext"]["readOnlyRootFilesystem"] is True
        assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    port = settings.http.port if name == "realbogus-worker" else settings.publish.port
    assert container["ports"] == [{"name": "http", "containerPort": port}]
    with serve(Metrics(), Health(not_ready=""), "127.0.0.1", 0) as address:
        for probe in ("livenessProbe", "readinessProbe"):
            if probe in container:
                assert urllib.request.urlopen(address + container[probe]["httpGet"]["path"], timeout=5).status == 200
    assert PODS[name]["terminationGracePeriodSeconds"] > settings.worker.leave_s


@pytest.mark.parametrize("name", PODS)
def test_pods_mount_volumes_that_they_have_and_names_of_the_environment_are_settings(name: str) -> None:
    pod = PODS[name]
    (claims,) = [
        one["spec"].get("volumeClaimTemplates", [])
        for one in OBJECTS
        if one["metadata"]["name"] == name and one["kind"] == "StatefulSet"
    ]
    there = {one["name"] for one in pod["volumes"]} | {one["metadata"]["name"] for one in claims}
    for one in (*pod["containers"], *pod.get("initContainers", ())):
        assert {mount["name"] for mount in one["volumeMounts"]} <= there
        for variable in one.get("env", ()):
            assert config.from_env({variable["name"]: "x"}).values


def test_the_autoscaler_looks_at_the_group_and_topic_that_are_read() -> None:
    (scaled,) = [one["spec"] for one in OBJECTS if one["kind"] == "ScaledObject"]
    trigger, settings = scaled["triggers"][0]["metadata"], kubernetes_settings()
    assert trigger["consumerGroup"] == settings.need_input().group_id
    assert (trigger["topic"],) == settings.need_input().topics
    assert trigger["bootstrapServers"] == settings.kafka.bootstrap
    assert scaled["scaleTargetRef"]["name"] in PODS
    (login,) = [one for one in OBJECTS if one["kind"] == "TriggerAuthentication"]
    assert scaled["triggers"][0]["authenticationRef"]["name"] == login["metadata"]["name"]


# -- Dockerfile ----------------------------------------------------------------------------------------------------


def copied() -> list[str]:
    sources = [words.split()[:-1] for words in instructions("COPY") if not words.startswith("--from")]
    return [source for several in sources for source in several if not source.startswith("--")]


def test_everything_that_is_copied_exists_and_reaches_the_builder() -> None:
    lines = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    sent = [line[1:] for line in lines if line.startswith("!")]
    assert lines[1] == "*"
    for source in copied():
        assert (PROJECT / source).exists()
        assert any(fnmatch(source, pattern) for pattern in sent)
    assert set(sent) == set(copied())


def test_the_image_has_what_the_package_is_built_of() -> None:
    assert {"pyproject.toml", "realbogus", "schemas", "models", "README.md", "LICENSE"} <= set(copied())


def test_calls_at_build_time_are_calls_that_the_command_line_takes() -> None:
    calls = re.findall(r"realbogus ((?:simulate|rescore) [^&]+)", re.sub(r"\\\n", " ", DOCKERFILE))
    assert len(calls) == 2
    for call in calls:
        parse(shlex.split(call))
    assert instructions("ENTRYPOINT") == ['["realbogus"]']
    parse([word.strip('", ') for word in instructions("CMD")[-1].strip("[]").split(",")])


def test_the_image_does_not_run_as_root_and_takes_only_checked_packages() -> None:
    user = instructions("USER")[-1]
    assert user.split(":")[0] not in ("", "0", "root")
    assert f"--uid {user.split(':')[0]}" in DOCKERFILE
    assert "--require-hashes" in DOCKERFILE
    assert not re.search(r"index-url|https?://(?!127\.0\.0\.1)", DOCKERFILE)


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([hadolint, str(DOCKER / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
