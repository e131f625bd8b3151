"""docker-compose.yml and the Dockerfile, as far as they can be checked without Docker."""

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from cbir.errors import UsageError
from cbir.settings import Settings
from cbir.stores.qdrant.server import Server, server_options
from cbir.stores.url import parse
from tests.support.running import PROGRAMS

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
TEXT = FILE.read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("page", "api", "ingest")
NODES = ("qdrant", "qdrant-2", "qdrant-3")
DOCKERFILE = (ROOT / "Dockerfile").read_text()
_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::?([-?])([^}]*))?\})")

every_service = pytest.mark.parametrize("name", list(SERVICES))
every_node = pytest.mark.parametrize("name", NODES)


def filled_in(text: str, **variables: str) -> str:
    """Return the text as Compose interpolates it."""

    def value(found: re.Match[str]) -> str:
        dollar, name, kind, other = found.groups()
        if dollar:
            return "$"
        if kind == "?" and not variables.get(name):
            raise KeyError(name)
        return variables.get(name) or (other if kind == "-" else "")

    return _VARIABLE.sub(value, text)


def environment_of(name: str, **variables: str) -> dict[str, str]:
    return {key: filled_in(value, **variables) for key, value in SERVICES[name]["environment"].items()}


# Profiles


def test_the_profiles() -> None:
    assert {name: service.get("profiles") for name, service in SERVICES.items()} == {
        "qdrant": None,
        "qdrant-2": ["cluster"],
        "qdrant-3": ["cluster"],
        "page": None,
        "api": None,
        "ingest": ["ingest"],
    }
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] == "service_healthy"
            needs = set(SERVICES[other].get("profiles", [])) - set(service.get("profiles", []))
            assert not needs or how["required"] is False, f"{name} could not start without the profile of {other}"
    assert "restart" not in SERVICES["ingest"], "the ingest is a job that ends"


def test_the_nodes_form_one_cluster() -> None:
    for name in NODES:
        environment = environment_of(name, QDRANT_API_KEY="k")
        assert environment["QDRANT__CLUSTER__ENABLED"] == "true"
        words = SERVICES[name]["command"].split()
        own = f"http://{name}:{environment['QDRANT__CLUSTER__P2P__PORT']}"
        assert words[words.index("--uri") + 1] == own
        if name == "qdrant":
            assert "--bootstrap" not in words
        else:
            assert words[words.index("--bootstrap") + 1] == "http://qdrant:6335"
    all_volumes = [SERVICES[name]["volumes"] for name in NODES]
    assert len({json.dumps(volumes) for volumes in all_volumes}) == 3, "two nodes write into one volume"
    for name in OURS:  # a collection created before a node joins has no copy on it
        assert set(SERVICES[name]["depends_on"]) == set(NODES)


def test_the_example_settings_of_a_cluster_replicate() -> None:
    lines = dict(
        line.removeprefix("# ").partition(" ")[0].split("=", 1)
        for line in (ROOT / ".env.example").read_text().splitlines()
        if re.match(r"# [A-Z_]+=", line)
    )
    assert lines["COMPOSE_PROFILES"] == "cluster"
    url = environment_of("ingest", QDRANT_API_KEY="k", QDRANT_OPTIONS=lines["QDRANT_OPTIONS"])["QDRANT_URL"]
    assert server_options(parse(url)).replicas == 2
    assert set(_variables()) <= set(lines)


def _variables() -> list[str]:
    return [found[2] for found in _VARIABLE.finditer(re.sub(r"(?m)^#.*$", "", TEXT)) if found[2]]


# Security


@every_service
def test_ports_are_open_only_on_this_machine(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert filled_in(port).startswith("127.0.0.1:"), port
    assert "network_mode" not in SERVICES[name]
    assert "privileged" not in SERVICES[name]


def test_the_port_between_the_nodes_is_not_published() -> None:
    published = [filled_in(port).split(":")[-1] for service in SERVICES.values() for port in service.get("ports", [])]
    assert sorted(published) == ["6333", "6334", "8000", "8501"]


@every_service
def test_an_api_key_is_required_and_must_not_be_empty(name: str) -> None:
    for nothing in ({}, {"QDRANT_API_KEY": ""}):
        with pytest.raises(KeyError, match="QDRANT_API_KEY"):
            environment_of(name, **nothing)
    assert "the-key" in environment_of(name, QDRANT_API_KEY="the-key").values()
    variables = re.findall(r"\$\{QDRANT_API_KEY[^}]*\}", TEXT)
    assert all(variable.startswith("${QDRANT_API_KEY:?is missing in .env") for variable in variables)


@every_node
def test_a_node_fetches_no_urls_and_sends_no_telemetry(name: str) -> None:
    environment = environment_of(name, QDRANT_API_KEY="k")
    assert environment["QDRANT__SERVICE__ENABLE_SNAPSHOT_URL_RECOVERY"] == "false"
    assert environment["QDRANT__TELEMETRY_DISABLED"] == "true"


@every_service
def test_a_service_has_few_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert re.fullmatch(r"\$\{[A-Z]+_MEMORY:-\d+g\}", service["mem_limit"])
    if name in NODES:
        assert service["image"].endswith("-unprivileged")
        for variable in ("QDRANT__STORAGE__SNAPSHOTS_PATH", "QDRANT_INIT_FILE_PATH"):
            assert service["environment"][variable].startswith("/qdrant/storage/"), "the only writable folder"
    else:
        assert re.search(r"^USER [1-9]\d*$", DOCKERFILE, re.MULTILINE)
        assert any(str(volume).endswith(":/var/cache/cbir") for volume in service["volumes"])


def test_the_folder_of_photos_is_read_only_and_must_exist() -> None:
    (photos,) = (volume for volume in SERVICES["ingest"]["volumes"] if isinstance(volume, dict))
    assert photos["read_only"] is True
    assert photos["bind"] == {"create_host_path": False}
    assert photos["target"] in SERVICES["ingest"]["command"].split()


# Images and commands


def test_container_images_are_pinned() -> None:
    images = {service["image"] for service in SERVICES.values()}
    images |= set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))
    for image in images:
        assert re.search(r":v?\d+\.\d+\.\d+(-[a-z-]+)?$", image), image


def test_the_container_image_has_the_version_of_the_project() -> None:
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert {SERVICES[name]["image"] for name in OURS} == {f"cbir:{version[1]}"}


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
@pytest.mark.parametrize("name", OURS)
def test_cbir_reads_the_environment_of_a_service(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in environment_of(name, QDRANT_API_KEY="the-key").items():
        monkeypatch.setenv(key, value)
    settings = Settings(_env_file=None)  # type: ignore[call-arg]
    (url,) = settings.store_urls
    assert Server(parse(url), settings).url == "http://qdrant:6333"
    with pytest.raises(UsageError, match="CBIR_INSECURE=1"):
        Server(parse(url), settings.model_copy(update={"insecure": False}))


@pytest.mark.parametrize("words", [filled_in(SERVICES[name]["command"]).split() for name in OURS], ids=OURS)
def test_a_command_and_its_options_exist(words: list[str]) -> None:
    module = {program: target.partition(":")[0] for program, target in PROGRAMS.items()}[words[0]]
    done = subprocess.run([sys.executable, "-m", module, *words[1:], "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    options = [word for word in words if word.startswith("--")]
    assert all(option in done.stdout for option in options)


def test_the_container_image_starts_the_page() -> None:
    (command,) = re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert json.loads(command) == filled_in(SERVICES["page"]["command"]).split()


@contextmanager
def answering(path: str, status: int) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == path else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def healthy(command: list[str], usual_port: int, port: int) -> bool:
    command = [word.replace(str(usual_port), str(port)) for word in command]
    assert any(str(port) in word for word in command)
    return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0


@pytest.mark.parametrize(("status", "expected"), [(200, True), (503, False)])
def test_a_node_is_healthy_when_it_is_ready(status: int, expected: bool) -> None:
    kind, *command = SERVICES["qdrant"]["healthcheck"]["test"]
    assert kind == "CMD"
    command = [filled_in(word) for word in command]
    assert all(SERVICES[name]["healthcheck"] == SERVICES["qdrant"]["healthcheck"] for name in NODES)
    with answering("/readyz", status) as port:
        assert healthy(command, 6333, port) is expected
    assert not healthy(command, 6333, port), "no server is running"


@pytest.mark.parametrize(("status", "expected"), [(200, True), (503, False)])
def test_the_page_is_healthy_when_streamlit_is(status: int, expected: bool) -> None:
    (command,) = re.findall(r"^HEALTHCHECK .*\\\n +CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    python, *rest = json.loads(command)
    assert python == "python"
    with answering("/_stcore/health", status) as port:
        assert healthy([sys.executable, *rest], 8501, port) is expected
    assert not healthy([sys.executable, *rest], 8501, port), "no server is running"


@pytest.mark.parametrize(("status", "expected"), [(200, True), (503, False)])
def test_the_api_is_healthy_when_it_is_ready(status: int, expected: bool) -> None:
    kind, python, *rest = SERVICES["api"]["healthcheck"]["test"]
    assert (kind, python) == ("CMD", "python")
    with answering("/readyz", status) as port:
        assert healthy([sys.executable, *rest], 8000, port) is expected
    assert not healthy([sys.executable, *rest], 8000, port), "no server is running"


def test_the_api_has_the_key_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    from cbir.serve.keys import is_one_of
    from cbir.serve.settings import ServeSettings

    for key, value in environment_of("api", QDRANT_API_KEY="k" * 32).items():
        monkeypatch.setenv(key, value)
    settings = ServeSettings(_env_file=None)  # type: ignore[call-arg]
    assert is_one_of("k" * 32, settings.read_keys) and is_one_of("k" * 32, settings.write_keys)
    assert "k" * 32 not in settings.read_keys


def test_only_the_needed_files_are_copied_into_the_container_image() -> None:
    copied = [
        word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()
    ]
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert ignored[0] == "*", "everything is ignored first"
    assert sorted(line[1:] for line in ignored if line[0] == "!") == sorted(copied)
    assert all((ROOT / name).exists() for name in copied)
    project = (ROOT / "pyproject.toml").read_text()
    (folders,) = re.findall(r"^\[tool.setuptools.package-dir\]\n((?:.+\n)+)", project, re.MULTILINE)
    needed = {*re.findall(r'= "(\w+)"', folders), "pyproject.toml", "README.md", "LICENSE", "NOTICE"}
    assert set(copied) == needed
    assert "torch" not in "".join(line for line in DOCKERFILE.splitlines() if not line.startswith("#"))


# Compose itself


def test_every_volume_is_declared_and_used() -> None:
    named = {
        volume.partition(":")[0]
        for service in SERVICES.values()
        for volume in service["volumes"]
        if isinstance(volume, str)
    }
    assert named == set(COMPOSE["volumes"])


def test_the_file_follows_the_compose_specification(tmp_path: Path) -> None:
    pytest.importorskip("check_jsonschema")
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*check, FILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(TEXT.replace("mem_limit", "memory_limit", 1))
    assert subprocess.run([*check, wrong], capture_output=True, check=False).returncode == 1


def _compose() -> list[str]:
    docker = shutil.which("docker")
    if docker and not subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        return [docker, "compose", "--env-file", "/dev/null", "-f", str(FILE), "config", "--services"]
    return []


@pytest.mark.skipif(not _compose(), reason="needs docker compose")
@pytest.mark.parametrize("profile", ["", "cluster", "ingest"])
def test_compose_accepts_the_file(profile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPOSE_PROFILES", profile)
    refused = subprocess.run(_compose(), capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "QDRANT_API_KEY" in refused.stderr
    monkeypatch.setenv("QDRANT_API_KEY", "the-key")
    done = subprocess.run(_compose(), capture_output=True, text=True, check=True)
    expected = {name for name, service in SERVICES.items() if profile in service.get("profiles", [profile])}
    assert set(done.stdout.split()) == expected
