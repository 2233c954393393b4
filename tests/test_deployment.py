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
from lookalike.service.edge import PUBLIC

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
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
    needed = {"pyproject.toml", "constraints.txt", PROJECT["readme"], "lookalike"}
    assert needed <= copied


def test_what_is_installed_are_extras_of_the_package() -> None:
    extras = re.findall(r'"\.\[([a-z,]+)\]"', DOCKERFILE)[0].split(",")
    assert set(extras) <= set(PROJECT["optional-dependencies"])


def test_it_runs_as_another_than_root_who_owns_what_is_written_to() -> None:
    assert last("USER") == "lookalike"
    owner, folders = re.findall(r"install -d -o (\w+) -g \w+ ([^&\n]+)", DOCKERFILE)[0]
    assert owner == "lookalike"
    assert json.loads(last("VOLUME")) == folders.split()


def test_the_container_runs_a_command_that_there_is() -> None:
    assert json.loads(last("ENTRYPOINT")) == ["lookalike"]
    assert "lookalike" in PROJECT["scripts"]
    served = parse(json.loads(last("CMD")))
    assert (served["host"], served["port"]) == ("0.0.0.0", int(last("EXPOSE")))
    # Inside a volume and not the volume itself, beside which nothing could be made that is to take its place.
    assert str(served["path"].parent) in json.loads(last("VOLUME"))


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


def test_the_services_fit_the_image() -> None:
    lookalike, milvus = COMPOSE["services"]["lookalike"], COMPOSE["services"]["milvus"]
    assert lookalike["build"] == "."
    # Published on loopback alone.
    assert lookalike["ports"] == [f"127.0.0.1:{last('EXPOSE')}:{last('EXPOSE')}"]
    assert "ports" not in milvus
    named = {volume.split(":")[0] for service in (lookalike, milvus) for volume in service["volumes"]}
    assert {name for name in named if not name.startswith(".")} == set(COMPOSE["volumes"])
    assert {volume.split(":")[1] for volume in lookalike["volumes"]} >= set(json.loads(last("VOLUME")))
    assert lookalike["depends_on"]["milvus"]["condition"] == "service_healthy"
    assert "healthcheck" in milvus


def test_the_commands_beside_them_are_of_this_command_line() -> None:
    compose = (ROOT / "compose.yaml").read_text()
    (line,) = re.findall(r"compose run --rm lookalike (.+)", compose)
    index = parse(shlex.split(line))
    (address,) = re.findall(r"milvus://(\w+):(\d+)/", index["engine"])
    assert address == ("milvus", "19530")
    served = parse(json.loads(last("CMD")))
    assert str(index["path"]) == str(served["path"])
    (again,) = re.findall(r"lookalike (index .+)", (ROOT / "Dockerfile").read_text())
    assert str(parse(shlex.split(again))["path"]) == str(served["path"])


def test_every_command_of_the_page_is_understood() -> None:
    text = (ROOT / "docs" / "deployment.md").read_text()
    lines = re.findall(r"^\$ (?:\w+=\S+ )*lookalike (.+)$", text, re.MULTILINE)
    assert len(lines) >= 6
    for line in lines:
        parse(shlex.split(line, comments=True))
