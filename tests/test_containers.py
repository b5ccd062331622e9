"""The server in containers: what its files say, and an image that is really built, run and watched.

No container engine is needed: buildah builds and runs in a chroot, in the network of this machine.
"""

import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests import services
from tests.conftest import BakedProject, bake_copy, baked, generate
from tests.projects import succeeds
from tests.services import Model
from tests.test_production_for_real import raw_test_rows

KEY = "of-whoever-asks-in-a-test"
SECRET = re.compile(r"PASSWORD|SECRET|KEYS$")
DASHBOARD = "deploy/grafana/model-server.json"
# An image as slim as Debian's: its required packages, and this Python with what it links to. The packages of the lock
# are those of the tests' environment, which is mounted: to install them takes minutes.
BASE = """FROM scratch
ADD base.tar /
RUN cp /usr/share/base-passwd/passwd.master /etc/passwd && cp /usr/share/base-passwd/group.master /etc/group \
    && ldconfig && ln -s {python} /usr/local/bin/python && cd /usr/local/lib/{python} \
    && python -m zipfile --extract ensurepip/_bundled/pip-*.whl site-packages \
    && echo "import site; site.addsitedir('/packages')" > site-packages/packages.pth
"""
PACKAGES = ("--volume", f"{sysconfig.get_path('purelib')}:/packages:ro")


@pytest.fixture(scope="module")
def files(template: Path, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """A project to be looked at and not to be changed."""
    folder = tmp_path_factory.mktemp("files")
    return baked(generate(template, folder, setup="no"), folder / "customer-churn")


def documents(project: BakedProject, name: str) -> list[dict[str, Any]]:
    """The documents in a YAML file."""
    return list(YAML(typ="safe").load_all(project.read(name)))


def dockerfile(project: BakedProject) -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, with their arguments on one line."""
    text = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", project.read("Dockerfile"), flags=re.M))
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in text.splitlines() if line.strip()]


def expressions(project: BakedProject) -> dict[str, list[str]]:
    """The PromQL of each panel of the dashboard, by title."""
    panels = json.loads(project.read(DASHBOARD))["panels"]
    return {panel["title"]: [target["expr"] for target in panel["targets"]] for panel in panels}


# ---- What the files say


def test_the_dockerfile_gives_hadolint_nothing_to_find(files: BakedProject) -> None:
    done = files.run("hadolint", "Dockerfile")

    assert (done.returncode, done.stdout) == (0, "")


def test_the_compose_file_follows_its_schema(files: BakedProject) -> None:
    done = files.run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml")

    assert done.returncode == 0, done.stdout


def test_compose_has_no_secret_no_floating_version_and_no_open_door(files: BakedProject) -> None:
    (compose,) = documents(files, "compose.yaml")
    stages = [arguments.split()[-1] for name, arguments in dockerfile(files) if name == "FROM"]

    for name, service in compose["services"].items():
        secrets = {key: value for key, value in service.get("environment", {}).items() if SECRET.search(key)}
        assert all(re.fullmatch(r"\$\{\w+:(\?.+|-)\}", value) for value in secrets.values()), name
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert "healthcheck" in service or service["build"]["target"] == "server", name  # which is in the Dockerfile
        if "build" in service:
            assert service["build"]["target"] in stages
        else:
            assert re.fullmatch(r"[\w/]+:v?\d+\.\d+(\.\d+)?", service["image"])
        for mounted in service.get("volumes", []):
            source = mounted.partition(":")[0]
            assert source in compose["volumes"] or (files.path / source).is_file(), mounted


def test_the_secrets_that_the_page_makes_are_those_that_compose_asks_for(files: BakedProject, tmp_path: Path) -> None:
    _, block = services.BLOCK.findall(files.read("docs/deploying.md"))[0]
    script = "\n".join(line for line in block.splitlines() if not line.startswith("docker"))
    asked = set(re.findall(r"\$\{(\w+):\?", files.read("compose.yaml")))

    subprocess.run(["bash", "-euc", script], cwd=tmp_path, check=True)

    made = dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines())
    assert set(made) == asked
    assert len(set(made.values())) == len(made)
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
    assert ".env" in files.read(".gitignore").splitlines()


def test_kubernetes_compose_and_the_image_agree(files: BakedProject) -> None:
    from mlops.commands.production.serve import serve
    from mlops.serving import keys

    service, budget, server = documents(files, "deploy/kubernetes.yaml")
    pod = server["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (compose,) = documents(files, "compose.yaml")
    composed = compose["services"]["server"]
    instructions = dockerfile(files)
    (port,) = {int(value) for name, value in instructions if name == "EXPOSE"} & {8000}
    uid = {value for name, value in instructions if name == "USER"}
    (volume,) = (value for name, value in instructions if name == "VOLUME")
    paths = {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}

    labels = server["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == labels == budget["spec"]["selector"]["matchLabels"]
    assert server["spec"]["selector"]["matchLabels"] == labels
    assert server["spec"]["serviceName"] == service["metadata"]["name"]
    assert {port} == {each["containerPort"] for each in container["ports"]}
    assert composed["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert service["spec"]["ports"][0]["targetPort"] == container["ports"][0]["name"]
    assert server["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"] == str(port)
    assert uid == {f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"}
    assert {volume} <= {mount["mountPath"] for mount in container["volumeMounts"]}
    assert composed["volumes"] == [f"serving:{volume}"]
    assert container["args"] == composed["command"]
    assert paths == {"/health", "/ready"}
    # Every variable that compose sets comes from the manifest, or from the secret that its comment describes.
    plain = {variable["name"] for variable in container["env"]}
    from_secret = set(re.findall(r"\b(?:MLOPS|MLFLOW)_\w+", files.read("deploy/kubernetes.yaml"))) - plain
    assert plain | from_secret == set(composed["environment"]) >= {keys.API_KEYS, keys.ADMIN_KEYS}
    # Requests that are under way have their time before the container is killed.
    grace = serve.__defaults__[list(serve.__annotations__).index("grace")]
    assert grace + 5 < pod["terminationGracePeriodSeconds"] == int(composed["stop_grace_period"].rstrip("s"))


def test_the_packages_of_mlflows_accounts_are_those_that_the_tests_have(files: BakedProject) -> None:
    from importlib import metadata

    pinned = dict(re.findall(r"^([\w-]+)==(\S+)", files.read("deploy/tracking.txt"), re.M))

    assert set(pinned) == {"flask-wtf", "wtforms"}  # beyond the lock, mlflow[auth] needs
    assert pinned == {name: metadata.version(name) for name in pinned}


def test_every_metric_and_label_of_the_dashboard_exists(files: BakedProject) -> None:
    from mlops.serving.metrics import Metrics

    made = [each for each in vars(Metrics()).values() if hasattr(each, "describe")]
    known = {sample: set(each._labelnames) for each in made for sample in sampled(each)}

    asked = [expression for panel in expressions(files).values() for expression in panel]
    variables = json.loads(files.read(DASHBOARD))["templating"]["list"]
    asked += [each["query"]["query"] for each in variables if each["type"] == "query"]
    for expression in asked:
        names = set(re.findall(r"\bmlops_\w+", expression))
        assert names <= set(known), expression
        labels = {"le", "instance"}.union(*(known[name] for name in names))
        used = re.findall(r"(\w+)=~?\"", expression) + re.findall(r"label_values\(\w+, (\w+)\)", expression)
        used += [
            each.strip() for group in re.findall(r"(?:by|on) \(([^)]*)\)", expression) for each in group.split(",")
        ]
        assert set(used) <= labels, expression
    # And the other way round: nothing is measured that nobody sees.
    shown = set(re.findall(r"\bmlops_\w+", " ".join(asked)))
    assert all(shown & set(sampled(each)) for each in made)


def sampled(metric: Any) -> list[str]:
    """The names under which Prometheus knows a metric."""
    (family,) = metric.describe()
    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
    return [family.name + suffix for suffix in suffixes]


def test_the_panels_of_the_dashboard_are_whole_and_beside_each_other(files: BakedProject) -> None:
    board = json.loads(files.read(DASHBOARD))
    (source,) = documents(files, "deploy/grafana/datasource.yaml")[0]["datasources"]
    cells = [
        (x, y)
        for panel in board["panels"]
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert len(set(cells)) == len(cells)
    assert {x for x, _ in cells} == set(range(24))
    assert {panel["datasource"]["uid"] for panel in board["panels"]} == {"${source}"}
    assert board["templating"]["list"][0]["current"]["value"] == source["uid"]


# ---- An image, built and run


@dataclass(frozen=True)
class Buildah:
    """Buildah with a store of its own."""

    folder: Path

    def command(self, *arguments: str) -> list[str]:
        """A command line of buildah."""
        stores = ("--root", str(self.folder / "store"), "--runroot", str(self.folder / "run"))
        return ["buildah", *stores, *arguments]

    def __call__(self, *arguments: str) -> str:
        """What a command prints that has to succeed."""
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{arguments}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def build(self, context: Path, tag: str, *options: str) -> None:
        """Build an image."""
        form = ("--isolation", "chroot", "--format", "docker", "--quiet")
        self("build", *form, "--tag", tag, *options, str(context))

    def package(self, project: BakedProject, tag: str, *options: str) -> None:
        """Let `mlops package` build the image of version 1, by this buildah."""
        program = self.folder / "bin" / "buildah"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {shutil.which("buildah")} {shlex.join(self.command()[1:])} "$@"\n')
        program.chmod(0o755)
        path = f"{program.parent}{os.pathsep}{project.surroundings['PATH']}"
        own = [part for option in ("--isolation=chroot", *options) for part in ("--build-option", option)]
        command = ("python", "-m", "mlops", "package", "1", "--to", "package.tar.gz", "--image", tag, *own)
        said = succeeds(project.with_env(PATH=path), *command)
        assert self("images", "--quiet", "--no-trunc", tag).strip() in said

    def run(self, container: str, *options: str) -> list[str]:
        """A command line that runs something in a container as the user of its image."""
        return self.command("run", "--isolation", "chroot", *PACKAGES, *options, container, "--")


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """Buildah with `localhost/python`, a base image."""
    if not shutil.which("buildah") or not shutil.which("dpkg") or os.geteuid() != 0:
        pytest.skip("an image is built by root on Debian, with buildah: apt-get install buildah")
    folder = tmp_path_factory.mktemp("buildah")
    context = folder / "base"
    context.mkdir()
    with tarfile.open(context / "base.tar", "w") as archive:
        for path, name in sorted(base_files().items(), key=lambda pair: pair[1]):
            archive.add(path, name, recursive=False)
    (context / "Dockerfile").write_text(BASE.format(python=python_name()))
    buildah = Buildah(folder)
    buildah.build(context, "localhost/python")
    (context / "base.tar").unlink()
    yield buildah
    buildah("rm", "--all")
    buildah("rmi", "--all", "--force")


def python_name() -> str:
    """Of this Python's program and folder, such as python3.11."""
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


def base_files() -> dict[str, str]:
    """The files of the base image on this machine, and their names in it."""

    def printed(*command: str) -> list[str]:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()

    listed = printed("dpkg-query", "--show", "--showformat=${binary:Package} ${Priority}|${Essential}\\n")
    # Libraries have no priority, and what packages bring along needs more of libc than programs do.
    wanted = re.compile(r"^(libc6|libgcc-s1|libstdc..6)\b|required|yes$")
    packages = [line.split()[0] for line in listed if wanted.search(line)]
    owned = [Path(line) for line in printed("dpkg", "--listfiles", *packages) if line.startswith("/")]
    owned = [path for path in owned if not {"doc", "locale", "man"} & set(path.parts)]
    stdlib = Path(sysconfig.get_path("stdlib"))
    left_out = {"site-packages", "test", "idlelib", "tkinter", "lib2to3"}
    python = [path for path in stdlib.rglob("*") if not left_out & set(path.relative_to(stdlib).parts)]
    python = [path for path in python if not path.name.startswith(("_tkinter", "config-", "libpython"))]
    program = Path(os.path.realpath(sys.executable))
    found = {str(path): f"usr/local/lib/{python_name()}/{path.relative_to(stdlib)}" for path in python}
    found[str(program)] = f"usr/local/bin/{python_name()}"
    for library in Path(sys.base_prefix, "lib").glob("libpython3.*.so.*"):
        found[str(library)] = f"usr/local/lib/{library.name}"
    linked = [path for path in owned if path.parent.name in ("bin", "sbin")]
    linked += [path for path in python if path.suffix == ".so"]
    for line in printed("ldd", *map(str, linked)):
        # The linker asks for the name of a link, which leads to the file.
        if (match := re.search(r"(/\S+) \(0x", line)) and not match[1].startswith(sys.base_prefix):
            owned += [Path(match[1]), Path(os.path.realpath(match[1]))]
    for path in [*owned, *map(Path, ("/bin", "/sbin", "/lib", "/lib64"))]:
        # A folder such as /bin may be a link, so that what is in it stands elsewhere.
        place = Path(os.path.realpath(path.parent), path.name)
        if place.exists() or place.is_symlink():
            found[str(place)] = str(place).lstrip("/")
    return found


@dataclass(frozen=True)
class Container:
    """A container of the `baked` image that answers, and how to run something else in it."""

    server: Model
    project: BakedProject
    config: dict[str, Any]
    run: Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def container(buildah: Buildah, quick: BakedProject, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """A real image with a real model, made of its package; beside that lies what must not get into it."""
    project = bake_copy(quick, tmp_path_factory.mktemp("context"))
    (project.path / ".env").write_text("POSTGRES_PASSWORD=do-not-copy-me\n")
    buildah.package(project, "server", "--build-arg", "BASE=localhost/python", *PACKAGES)
    config = json.loads(buildah("inspect", "--type", "image", "server"))["Docker"]["config"]
    name, port = buildah("from", "server").strip(), services.free_port()
    log = tmp_path_factory.mktemp("container") / "server.log"
    command = [*config["Entrypoint"], "--port", str(port)]

    def run(*inside: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(buildah.run(name) + list(inside), capture_output=True, text=True, check=False)

    with log.open("ab") as said:
        environment = ("--env", f"MLOPS_API_KEYS=test:{KEY}")
        process = subprocess.Popen(buildah.run(name, *environment) + command, stdout=said, stderr=said)
        server = Model(f"http://127.0.0.1:{port}", log, log, process)
        try:
            services.wait_for(f"{server.url}/ready", process, log)
            yield Container(server, project, config, run)
        finally:
            process.terminate()
            process.wait(services.PATIENCE)


def test_the_image_has_what_serving_needs_and_nothing_else(container: Container) -> None:
    found = set(container.run("find", "/app", "-type", "f").stdout.split())
    top = {path.split("/")[2] for path in found}
    code = {path.removeprefix("/app/") for path in found if path.endswith(".py") and "/serving/models/" not in path}
    expected = {
        path.relative_to(container.project.path).as_posix()
        for name in ("mlops", "project")
        for path in (container.project.path / name).rglob("*.py")
    }
    compiled = {
        path.replace("__pycache__/", "").split(".cpython")[0] + ".py" for path in found if path.endswith(".pyc")
    }

    assert top == {"mlops", "project", "params.yaml", "requirements.txt", "schema.yaml", "serving"}
    assert code == expected
    assert {f"/app/{name}" for name in code} <= compiled


def test_the_container_answers_as_a_user_who_may_write_into_its_folder_only(container: Container) -> None:
    rows = raw_test_rows(container.project)[:3]

    refused, _ = container.server.ask("/predict", {"rows": rows})
    probed = {path: container.server.ask(path)[0] for path in ("/health", "/ready", "/metrics")}
    status, found = container.server.ask("/predict", {"rows": rows}, **{"x-api-key": KEY})
    mine = container.run("sh", "-c", "id -u; find /app -writable -prune")

    assert refused == 401
    assert set(probed.values()) == {200}  # whoever probes has no key
    assert status == 200
    assert {each["model_version"] for each in found["predictions"]} == {"1"}
    assert mine.stdout.split() == ["1000", "/app/serving"]


def test_the_health_check_of_the_image_says_whether_the_server_is_ready(container: Container) -> None:
    kind, *command = container.config["Healthcheck"]["Test"]
    port = container.server.url.rpartition(":")[2]
    there, nowhere = (
        [part.replace(":8000/", f":{each}/") for part in command] for each in (port, services.free_port())
    )

    assert kind == "CMD"
    assert there != command  # the port of the image is another one
    assert container.run(*there).returncode == 0
    assert container.run(*nowhere).returncode != 0


def test_every_panel_of_the_dashboard_has_an_answer_from_prometheus(container: Container, tmp_path: Path) -> None:
    if not shutil.which("prometheus"):
        pytest.skip("Prometheus is not installed: apt-get install prometheus")
    (compose,) = documents(container.project, "compose.yaml")
    scraping = container.project.read("deploy/prometheus.yaml")
    (target,) = (f"{name}:8000" for name in compose["services"] if f"{name}:8000" in scraping)
    here = {target: container.server.url.removeprefix("http://"), "scrape_interval: 5s": "scrape_interval: 500ms"}
    for there, mine in here.items():
        assert there in scraping
        scraping = scraping.replace(there, mine)
    (tmp_path / "prometheus.yml").write_text(scraping)
    url = f"127.0.0.1:{services.free_port()}"
    start = ["prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    rows, wrong = raw_test_rows(container.project)[:20], [{}]
    asked = [(title, each) for title, found in expressions(container.project).items() for each in found]
    with services.running([*start, f"--web.listen-address={url}"], f"http://{url}/-/ready", {}, tmp_path / "log"):
        deadline = time.monotonic() + services.PATIENCE
        while asked:
            assert time.monotonic() < deadline, asked
            for body in (rows, wrong):
                container.server.ask("/predict", {"rows": body}, **{"x-api-key": KEY})
            asked = [(title, each) for title, each in asked if not answered(url, each)]
            time.sleep(0.2)


def answered(prometheus: str, expression: str) -> list[float]:
    """The numbers that Prometheus has for a panel now, with the variables that Grafana fills in."""
    for name, value in {"$__rate_interval": "3s", "$instance": ".*", "$path": "/predict"}.items():
        expression = expression.replace(name, value)
    query = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"http://{prometheus}/api/v1/query?{query}", timeout=5) as answer:
        result: Sequence[Any] = json.load(answer)["data"]["result"]
    return [value for each in result if math.isfinite(value := float(each["value"][1]))]
