"""Deliveries out of a real PostgreSQL server and a real S3 endpoint, and what these leave behind: no password."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy

from tests.conftest import BakedProject, bake_copy, surroundings

PASSWORD = "s3cr3t p@ss/w:rd"  # noqa: S105 – to be looked for
QUOTED = "s3cr3t%20p%40ss%2Fw%3Ard"
KEY, KEY_ID = "s3cr3tkey", "s3cr3tid"


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def postgres_program(name: str) -> str:
    """A program of PostgreSQL, which Debian keeps off the PATH."""
    found = [str(path) for path in Path("/usr/lib/postgresql").glob(f"*/bin/{name}")]
    program = next(iter(sorted(found, reverse=True)), shutil.which(name))
    if program is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    return program


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster of its own, with a user who has a password; the URL without it."""
    folder = Path(tempfile_for_others(tmp_path_factory))
    initdb, control = postgres_program("initdb"), postgres_program("pg_ctl")
    # The server refuses to be run by root.
    other = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    secret = folder / "password"
    secret.write_text(PASSWORD)
    if other:
        for path in (folder, secret):
            shutil.chown(path, "postgres", "postgres")
    cluster, port = folder / "cluster", free_port()

    def run(*command: str) -> None:
        done = subprocess.run([*other, *command], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    run(initdb, "--auth=scram-sha-256", "--username=owner", f"--pwfile={secret}", "--encoding=UTF8", str(cluster))
    options = f"-c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -p {port}"
    run(control, "--pgdata", str(cluster), "--log", str(folder / "log"), "--options", options, "--wait", "start")
    yield f"postgresql://owner@127.0.0.1:{port}/postgres"
    run(control, "--pgdata", str(cluster), "--mode=immediate", "--wait", "stop")
    shutil.rmtree(folder)


def tempfile_for_others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that another user can reach: pytest's own are closed to all but one."""
    folder = Path(tmp_path_factory.getbasetemp().parents[1], f"postgres-{os.getpid()}")
    folder.mkdir(mode=0o755)
    return folder


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """An S3 endpoint."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    server.terminate()
    server.wait()


@pytest.fixture
def project(pipeline: BakedProject, tmp_path: Path) -> BakedProject:
    """The example project, to be changed."""
    return bake_copy(pipeline, tmp_path)


@pytest.fixture
def ingest(project: BakedProject) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A function that runs `python -m ops ingest` in the project, with more in its environment."""

    def running(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ops", "ingest", *arguments],
            cwd=project.path,
            env=surroundings(project.path.parent, **more),
            capture_output=True,
            text=True,
            check=False,
        )

    return running


def delivery(project: BakedProject) -> pd.DataFrame:
    """The newest rows of the example, as a person's table would have them."""
    [path] = (project.path / "data" / "raw").iterdir()
    return pd.read_csv(path).tail(500)


def leaves_no_secret(project: BakedProject, *printed: str) -> bool:
    """Whether no file of the project and nothing printed has a password in any spelling."""
    project.run("git", "add", "--all")
    project.run("git", "-c", "user.name=A", "-c", "user.email=a@localhost", "commit", "--message", "A delivery")
    logged = project.run("git", "log", "--all", "--patch").stdout
    files = (path.read_bytes() for path in project.path.rglob("*") if path.is_file())
    everything = b"\n".join([*files, logged.encode(), *(text.encode() for text in printed)])
    return not any(secret.encode() in everything for secret in (PASSWORD, QUOTED, KEY, KEY_ID))


def test_postgresql_is_asked_and_its_types_arrive(
    project: BakedProject, ingest: Callable[..., subprocess.CompletedProcess[str]], postgres: str
) -> None:
    url = postgres.replace("owner@", f"owner:{QUOTED}@")
    engine = sqlalchemy.create_engine(url)
    rows = delivery(project)
    rows.to_sql("customers", engine, index=False, dtype={"monthly_charges": sqlalchemy.Numeric(10, 2)})
    engine.dispose()

    done = ingest(
        url,
        "--query",
        "SELECT * FROM customers WHERE customer_id::text LIKE '%' ORDER BY customer_id",
        "--name",
        "shop",
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"500 rows × {len(rows.columns)} columns" in done.stdout
    [path] = (project.path / "data" / "incoming").glob("*-shop-*.parquet")
    table = pd.read_parquet(path)
    assert table["monthly_charges"].sum() == pytest.approx(rows["monthly_charges"].sum())
    assert table["customer_id"].tolist() == sorted(rows["customer_id"])
    assert project.run("dvc", "repro").returncode == 0
    assert "500" in project.read("reports/drift.json")
    assert leaves_no_secret(project, done.stdout, done.stderr)


def test_the_password_may_come_from_the_environment(
    project: BakedProject, ingest: Callable[..., subprocess.CompletedProcess[str]], postgres: str
) -> None:
    done = ingest(postgres, "--query", "SELECT 1 AS nothing", PGPASSWORD=PASSWORD)

    assert "lacks the columns" in done.stderr


@pytest.mark.parametrize(
    ("password", "query", "sentence"),
    [
        (f"{QUOTED}x", "SELECT 1", "password authentication failed"),
        (QUOTED, "SELECT * FROM nowhere", "nowhere"),
        (QUOTED, "SELECT nextval('numbers')", "read-only transaction"),
    ],
)
def test_what_postgresql_refuses_is_one_sentence(
    project: BakedProject,
    ingest: Callable[..., subprocess.CompletedProcess[str]],
    postgres: str,
    password: str,
    query: str,
    sentence: str,
) -> None:
    engine = sqlalchemy.create_engine(postgres.replace("owner@", f"owner:{QUOTED}@"))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SEQUENCE IF NOT EXISTS numbers")
    engine.dispose()

    done = ingest(postgres.replace("owner@", f"owner:{password}@"), "--query", query)

    assert done.returncode == 1
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert leaves_no_secret(project, done.stdout, done.stderr)


def test_a_file_on_s3_is_fetched_with_the_credentials_of_the_environment(
    project: BakedProject, ingest: Callable[..., subprocess.CompletedProcess[str]], s3: str
) -> None:
    import boto3

    credentials = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": KEY, "AWS_DEFAULT_REGION": "us-east-1"}
    client = boto3.client(
        "s3", endpoint_url=s3, aws_access_key_id=KEY_ID, aws_secret_access_key=KEY, region_name="us-east-1"
    )
    client.create_bucket(Bucket="deliveries")
    content = delivery(project).to_csv(index=False).encode()
    client.put_object(Bucket="deliveries", Key="2026/new.csv", Body=content)

    done = ingest("s3://deliveries/2026/new.csv", AWS_ENDPOINT_URL=s3, **credentials)
    missing = ingest("s3://deliveries/2026/other.csv", AWS_ENDPOINT_URL=s3, **credentials)

    assert done.returncode == 0, done.stdout + done.stderr
    [path] = (project.path / "data" / "incoming").glob("*-new-*.parquet")
    assert len(pd.read_parquet(path)) == 500
    assert missing.returncode == 1
    assert "s3://deliveries/2026/other.csv could not be read" in missing.stderr
    assert leaves_no_secret(project, done.stdout, done.stderr, missing.stderr)
