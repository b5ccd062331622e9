"""Real servers for the tests: PostgreSQL, an S3 endpoint, and MLflow's tracking server as the README starts it."""

import http.client
import json
import os
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import BakedProject

PATIENCE = 120  # seconds for a server to answer
PAUSE = 0.05  # seconds between two requests, so that the server leaves the processor to what is watched
ADMIN_KEY = "of-whoever-may-change-the-route"
ADMIN_KEYS = {"MLOPS_ADMIN_KEYS": f"ada:{ADMIN_KEY}"}
# On a machine that is busy with other tests, slow answers say nothing.
SHORT_CANARY = {"steps": [0.5], "step_requests": 60, "step_minutes": 0, "slow_ms": 10_000, "alpha": 0.001}
BUCKET = "models"
README = Path(__file__).resolve().parents[1] / "{{cookiecutter.project}}" / "docs" / "tracking-server.md"
BLOCK = re.compile(r"^```(bash|ini|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Postgres:
    """A cluster with one user, `owner`; `url` has no password and ends before the name of a database."""

    url: str
    password: str = field(repr=False)

    def create(self, database: str) -> str:
        """Make a database; its URL."""
        import psycopg

        with psycopg.connect(f"{self.url}/postgres", password=self.password, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {database}")
        return f"{self.url}/{database}"


@dataclass(frozen=True)
class S3:
    """An S3 endpoint with one bucket, and keys for it."""

    url: str
    key_id: str
    key: str = field(repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """What makes every client of S3 use it."""
        return {
            "AWS_ACCESS_KEY_ID": self.key_id,
            "AWS_SECRET_ACCESS_KEY": self.key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.url,
            "MLFLOW_S3_ENDPOINT_URL": self.url,
        }

    @property
    def bucket(self):
        """Its bucket, to boto3."""
        import boto3

        session = boto3.Session(self.key_id, self.key, region_name="us-east-1")
        return session.resource("s3", endpoint_url=self.url).Bucket(BUCKET)


@dataclass(frozen=True)
class Tracking:
    """An MLflow server with accounts: `admin`, the editors `ada` and `bob`, and the reader `rita`."""

    url: str
    log: Path
    passwords: Mapping[str, str] = field(repr=False)

    def account(self, name: str) -> dict[str, str]:
        """What someone has in their environment who works with it."""
        return {
            "MLFLOW_TRACKING_URI": self.url,
            "MLFLOW_TRACKING_USERNAME": name,
            "MLFLOW_TRACKING_PASSWORD": self.passwords.get(name, ""),
        }


@dataclass(frozen=True)
class Dask:
    """A Dask scheduler whose workers have the tests' packages, and no code of a project."""

    port: int
    folder: Path
    processes: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    @property
    def address(self) -> str:
        """Where the scheduler listens."""
        return f"tcp://127.0.0.1:{self.port}"

    @property
    def scheduler(self) -> "subprocess.Popen[bytes]":
        """The process that was started first."""
        return self.processes[0]

    @property
    def workers(self) -> "list[subprocess.Popen[bytes]]":
        """All others, also those that have ended."""
        return self.processes[1:]

    def start_worker(self, **env: str) -> None:
        """Start a worker of one thread."""
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0")
        self.start("worker", self.address, *options, "--local-directory", str(self.folder), **env)

    def start(self, *command: str, **env: str) -> None:
        """Start a process of Dask, which writes a log; it stands where no code of a project is found."""
        with (self.folder / "dask.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *command],
                cwd=self.folder,
                env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | env,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)


@contextmanager
def dask(folder: Path, workers: int, allowed_failures: int = 3, preload: str = "") -> Iterator[Dask]:
    """A scheduler on the loopback with so many workers; a piece may end as many as allowed, and then one more.

    Each of these workers runs the file `preload` first.
    """
    from distributed import Client

    cluster = Dask(free_port(), folder)
    allowed = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(allowed_failures)}
    try:
        cluster.start("scheduler", "--host", "127.0.0.1", "--port", str(cluster.port), "--no-dashboard", **allowed)
        for _ in range(workers):
            cluster.start_worker(**({"DASK_DISTRIBUTED__WORKER__PRELOAD": preload} if preload else {}))
        with Client(cluster.address, timeout=PATIENCE, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=PATIENCE)
        yield cluster
    finally:
        for process in cluster.processes:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def postgres(password: str) -> Iterator[Postgres]:
    """A PostgreSQL cluster of its own, whose owner has this password."""
    # Not below pytest's folders, which are closed to all but one: the server refuses to be run by root.
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        folder = Path(name)
        other = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        secret = folder / "password"
        secret.write_text(password)
        if other:
            for path in (folder, secret):
                shutil.chown(path, "postgres", "postgres")
        cluster, port = folder / "cluster", free_port()

        def run(program: str, *options: str) -> None:
            command = [*other, _postgres_program(program), *options]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr

        run("initdb", "--auth=scram-sha-256", "--username=owner", f"--pwfile={secret}", "--encoding=UTF8", str(cluster))
        options = f"-c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -p {port}"
        control = ("pg_ctl", "--pgdata", str(cluster), "--wait")
        run(*control, "--log", str(folder / "log"), "--options", options, "start")
        try:
            yield Postgres(f"postgresql://owner@127.0.0.1:{port}", password)
        finally:
            run(*control, "--mode=immediate", "stop")


def _postgres_program(name: str) -> str:
    """A program of PostgreSQL, which Debian keeps off the PATH."""
    found = [str(path) for path in Path("/usr/lib/postgresql").glob(f"*/bin/{name}")]
    program = next(iter(sorted(found, reverse=True)), shutil.which(name))
    if program is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    return program


@contextmanager
def s3(key_id: str, key: str) -> Iterator[S3]:
    """An S3 endpoint with an empty bucket."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    with running(command, f"http://127.0.0.1:{port}/", {}, Path(os.devnull)):
        endpoint = S3(f"http://127.0.0.1:{port}", key_id, key)
        endpoint.bucket.create()
        yield endpoint


@contextmanager
def tracking(database: Postgres, storage: S3, folder: Path) -> Iterator[Tracking]:
    """MLflow's server, started and filled with accounts by what the README says; its log is in `folder`."""
    port = free_port()
    start, rights, accounts = (text for _, text in BLOCK.findall(README.read_text(encoding="utf-8")))
    passwords = {name: f"{name}-{secrets.token_hex(8)}" for name in ("admin", "ada", "bob", "rita")}
    stand_ins = {
        "postgresql://mlflow@db.example.org/mlflow_auth": database.create("mlflow_auth"),
        "postgresql://mlflow@db.example.org/mlflow": database.create("mlflow"),
        "https://mlflow.example.org": f"http://127.0.0.1:{port}",
        "mlflow.example.org": f"127.0.0.1:{port}",
        "--host 0.0.0.0 --port 5000": f"--host 127.0.0.1 --port {port}",
    }
    for there, here in stand_ins.items():
        assert there in start + rights + accounts
        start, rights, accounts = (text.replace(there, here) for text in (start, rights, accounts))
    (folder / "auth.ini").write_text(rights)
    environment = storage.environment | {
        "PGPASSWORD": database.password,
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": passwords["admin"],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    command = [sys.executable, "-m", *shlex.split(start.replace("\\\n", " "))]
    server = Tracking(f"http://127.0.0.1:{port}", folder / "mlflow.log", passwords)
    with running(command, f"{server.url}/health", environment, server.log):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in server.account("admin").items():
                patch.setenv(name, value)
            known = {"accounts": {name: passwords[name] for name in ("ada", "bob")}}
            exec(accounts, known)  # noqa: S102 – the README's
            known["admin"].create_user("rita", passwords["rita"])
        yield server


@contextmanager
def scoring(model: str, store: str, folder: Path) -> Iterator[str]:
    """MLflow's own server of a model, started in `folder`, where its log is; the address that answers."""
    port = free_port()
    start = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", model]
    command = [*start, "--env-manager", "local", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    # MLflow starts uvicorn by its name.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"MLFLOW_TRACKING_URI": store, "PATH": path}
    with running(command, f"{url}/ping", environment, folder / "scoring.log"):
        yield f"{url}/invocations"


@dataclass(frozen=True)
class Model:
    """A running `mlops serve`: its address, the files of its two outputs, and its parent process."""

    url: str
    requests: Path
    log: Path
    process: subprocess.Popen[bytes]

    def ask(self, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        """Send a request, a POST if there is a body; its status, and what the answer has as JSON, else as text."""
        host = self.url.removeprefix("http://")
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        kind = {"Content-Type": "application/json"} if sent is not None else {}
        connection = http.client.HTTPConnection(host, timeout=60)
        try:
            connection.request("GET" if sent is None else "POST", path, sent, kind | headers)
            answer = connection.getresponse()
            content = answer.read()
            found = json.loads(content) if answer.getheader("content-type") == "application/json" else content
            return answer.status, found
        finally:
            connection.close()


@contextmanager
def model(project: "BakedProject", folder: Path, *options: str, **environment: str) -> Iterator[Model]:
    """`mlops serve` in a project, until it is not needed any more; it has started when it is ready."""
    port = free_port()
    folder.mkdir(exist_ok=True)
    requests, log = folder / "requests.log", folder / "server.log"
    command = [sys.executable, "-m", "mlops", "serve", "--port", str(port), "--poll", "0.3", *options]
    with requests.open("ab") as out, log.open("ab") as said:
        process = subprocess.Popen(
            command, cwd=project.path, env=project.surroundings | environment, stdout=out, stderr=said
        )
        running = Model(f"http://127.0.0.1:{port}", requests, log, process)
        try:
            wait_for(f"{running.url}/ready", process, log)
            yield running
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(PATIENCE)


@contextmanager
def asked(server: Model, rows: list[dict[str, str]], wrong: str = "") -> Iterator[None]:
    """Let somebody ask a server of the example, and tell it that the answers of the version `wrong` are wrong."""
    over, other = threading.Event(), {"Yes": "No", "No": "Yes"}

    def ask() -> None:
        for row in cycle(rows):
            if over.wait(PAUSE):
                return
            (answer,) = server.ask("/predict", {"rows": [row]})[1]["predictions"]
            actual = other[answer["prediction"]] if answer["model_version"] == wrong else answer["prediction"]
            server.ask("/feedback", {"prediction_id": answer["prediction_id"], "actual": actual})

    with ThreadPoolExecutor(1) as clients:
        asking = clients.submit(ask)
        try:
            yield
        finally:
            over.set()
        asking.result()


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server answers; its log is shown if it ends or takes too long."""
    deadline = time.monotonic() + PATIENCE
    while not _answers(url):
        assert process.poll() is None, f"it ended: {log.read_text()}"
        assert time.monotonic() < deadline, f"it is not ready: {log.read_text()}"
        time.sleep(0.1)


@contextmanager
def running(command: list[str], url: str, environment: Mapping[str, str], log: Path) -> Iterator[None]:
    """Run a server until it is not needed any more; it counts as started when `url` answers."""
    with log.open("a") as said:
        # A group of its own: what it starts ends with it.
        server = subprocess.Popen(
            command, env=os.environ | dict(environment), stdout=said, stderr=said, start_new_session=True
        )
        try:
            deadline = time.monotonic() + PATIENCE
            while not _answers(url):
                assert server.poll() is None, f"{command} ended: {log}"
                assert time.monotonic() < deadline, f"{command} does not answer: {log}"
                time.sleep(0.2)
            yield
        finally:
            if server.poll() is None:
                os.killpg(server.pid, 15)
                server.wait()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 – the loopback
    except OSError:
        return False
    return True
