"""Dockerfile, compose file and the page about them, read as far as can be without a container engine."""

import json
import re
import shlex
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from lookalike.cli import app as commands
from lookalike.integrations import addresses
from lookalike.service.edge import PUBLIC
from lookalike.service.metrics import Metrics

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
COMPOSE = {"milvus": "compose.yaml", "postgres": "compose-postgres.yaml"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def last(instruction: str) -> str:
    """What the last such line of the Dockerfile says."""
    return str(re.findall(rf"^\s*{instruction}\s+(.+)$", DOCKERFILE, re.MULTILINE)[-1])


def parse(words: list[str]) -> Any:
    """The options of a command line, which is not run; raises what typer raises for a wrong command line."""
    group: Any = typer.main.get_command(commands)
    name, *rest = words
    return group.commands[name].make_context(name, rest).params


HEALTH: list[str] = json.loads(re.findall(r"HEALTHCHECK[^\[]*CMD (\[.+\])", DOCKERFILE)[0])


def test_what_is_copied_is_there_and_not_left_out() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    lines = re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
    copied = {name for line in lines for name in line.split()[:-1]}
    for name in copied:
        assert (ROOT / name).exists(), name
        assert name not in ignored
    needed = {"pyproject.toml", "constraints.txt", "README.md", "scripts/hatch_readme.py", "lookalike"}
    assert needed <= copied


def test_what_is_installed_are_extras_of_the_package() -> None:
    extras = re.findall(r'"\.\[([a-z,]+)\]"', DOCKERFILE)[0].split(",")
    assert set(extras) <= set(PROJECT["optional-dependencies"])


def test_it_runs_as_another_than_root_who_owns_what_is_written_to() -> None:
    number = re.findall(r"useradd .*--uid (\d+) lookalike", DOCKERFILE)[0]
    assert last("USER") == number, "a number, or Kubernetes cannot tell that it is not root"
    owner, folders = re.findall(r"install -d -o (\w+) -g \w+ ([^&\n]+)", DOCKERFILE)[0]
    assert owner == "lookalike"
    assert json.loads(last("VOLUME")) == folders.split()


def test_the_container_runs_a_command_that_there_is() -> None:
    assert json.loads(last("ENTRYPOINT")) == ["lookalike"]
    assert "lookalike" in PROJECT["scripts"]
    served = parse(json.loads(last("CMD")))
    assert (served["host"], served["port"]) == ("0.0.0.0", int(last("EXPOSE")))
    # Inside a volume and not the volume itself, beside which nothing could be made that is to take its place.
    (folder,) = served["paths"]
    assert str(folder.parent) in json.loads(last("VOLUME"))


def test_health_is_asked_for_where_no_token_is_wanted() -> None:
    url = re.findall(r"http://127\.0\.0\.1:(\d+)(/\w+)", HEALTH[-1])[0]
    assert url == (last("EXPOSE"), "/healthz")
    assert url[1] in PUBLIC


@pytest.mark.parametrize(("status", "exit_status"), [(200, 0), (503, 1)])
def test_the_health_check_tells_well_from_ill(status: int, exit_status: int) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        code = HEALTH[-1].replace(f":{last('EXPOSE')}/", f":{server.server_port}/")
        run = subprocess.run([sys.executable, *HEALTH[1:-1], code], capture_output=True, check=False)
    assert run.returncode == exit_status


@pytest.mark.parametrize("name", COMPOSE)
def test_the_services_fit_the_image(name: str) -> None:
    compose: dict[str, Any] = yaml.safe_load((ROOT / COMPOSE[name]).read_text())
    lookalike, engine = compose["services"]["lookalike"], compose["services"][name]
    assert lookalike["build"] == "."
    # Published on loopback alone.
    assert lookalike["ports"] == [f"127.0.0.1:{last('EXPOSE')}:{last('EXPOSE')}"]
    assert "ports" not in engine
    named = {volume.split(":")[0] for service in (lookalike, engine) for volume in service["volumes"]}
    assert {name for name in named if not name.startswith(".")} == set(compose["volumes"])
    assert {volume.split(":")[1] for volume in lookalike["volumes"]} >= set(json.loads(last("VOLUME")))
    assert lookalike["depends_on"][name]["condition"] == "service_healthy"
    assert "healthcheck" in engine


@pytest.mark.parametrize(("name", "port"), [("milvus", "19530"), ("postgres", "5432")])
def test_the_commands_beside_them_are_of_this_command_line(name: str, port: str) -> None:
    compose = (ROOT / COMPOSE[name]).read_text()
    (line,) = re.findall(r" run --rm lookalike (.+)", compose)
    index = parse(shlex.split(line))
    (address,) = re.findall(r"[/@](\w+):(\d+)/", index["engine"])
    assert address == (name, port)
    addresses.parse(index["engine"])
    served = [str(path) for path in parse(json.loads(last("CMD")))["paths"]]
    assert [str(index["path"])] == served
    (again,) = re.findall(r"lookalike (index .+)", (ROOT / "Dockerfile").read_text())
    assert [str(parse(shlex.split(again))["path"])] == served


def test_every_command_of_the_page_is_understood() -> None:
    text = (ROOT / "docs" / "deployment.md").read_text()
    lines = re.findall(r"^\$ (?:\w+=\S+ )*lookalike (.+)$", text, re.MULTILINE)
    assert len(lines) >= 6
    for line in lines:
        parse(shlex.split(line, comments=True))


def test_an_edit_of_the_source_installs_no_dependency_again() -> None:
    build = DOCKERFILE.partition("FROM python")[2].partition("FROM python")[0]
    dependencies, source = build.index("-c constraints.txt"), build.index("COPY lookalike lookalike")
    assert dependencies < source
    assert "--no-deps" in build[source:]


def test_weights_are_put_into_the_image_by_a_build_argument() -> None:
    assert last("ARG") == "ENCODER="
    command = re.findall(r"then (lookalike encoders pull) ", DOCKERFILE)[0]
    assert DOCKERFILE.index("USER ") < DOCKERFILE.index(command) < DOCKERFILE.index("VOLUME")


def test_the_manifests_of_kubernetes_fit_the_image() -> None:
    manifests = {manifest["kind"]: manifest for manifest in yaml.safe_load_all((ROOT / "kubernetes.yaml").read_text())}
    pod = manifests["Deployment"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert str(pod["securityContext"]["runAsUser"]) == last("USER")
    assert (container["readinessProbe"]["httpGet"]["path"], container["livenessProbe"]["httpGet"]["path"]) == (
        "/readyz",
        "/healthz",
    )
    assert {"/readyz", "/healthz"} <= set(PUBLIC)
    served = parse(container["args"])
    assert (served["host"], served["port"]) == ("0.0.0.0", container["ports"][0]["containerPort"])
    mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert set(json.loads(last("VOLUME"))) <= set(mounted)
    assert set(mounted.values()) == {volume["name"] for volume in pod["volumes"]}
    seeded = pod["initContainers"][0]
    assert seeded["image"] == container["image"]
    assert seeded["volumeMounts"] == [{"name": mounted["/cache"], "mountPath": "/seed"}]
    assert container["env"][0]["valueFrom"]["secretKeyRef"], "no token in the manifest"
    labels = manifests["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert manifests["Service"]["spec"]["selector"].items() <= labels.items()


def test_the_page_on_operation_names_commands_and_metrics_that_there_are() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    for line in re.findall(r"`lookalike ([^`]+)`", text):
        parse(shlex.split(line))
    metrics = Metrics()
    metrics.engine()
    named = set(re.findall(r"`(lookalike_\w+)", text))
    assert len(named) >= 5
    assert named <= set(re.findall(r"^# HELP (\w+)", metrics.text().decode(), re.MULTILINE))
