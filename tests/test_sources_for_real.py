"""Deliveries out of a real PostgreSQL server and a real S3 endpoint, and what these leave behind: no password."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pytest
import sqlalchemy

from tests.conftest import BakedProject, bake_copy, found_in
from tests.services import BUCKET, S3, Postgres

pytestmark = pytest.mark.xdist_group("servers")  # one worker starts them


def url_of(postgres: Postgres, password: str = "") -> str:
    """A URL with a password in it, by default the right one."""
    return f"{postgres.url}/postgres".replace("owner@", f"owner:{quote(password or postgres.password, safe='')}@")


@pytest.fixture
def project(quick: BakedProject, tmp_path: Path) -> BakedProject:
    """A copy of the quick project, to be changed."""
    return bake_copy(quick, tmp_path)


@pytest.fixture
def ingest(project: BakedProject) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A function that runs `python -m mlops ingest` in the project, with more in its environment."""

    def running(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return project.with_env(**more).run("python", "-m", "mlops", "ingest", *arguments)

    return running


def delivery(project: BakedProject) -> pd.DataFrame:
    """The newest rows of the example, as a person's table would have them."""
    [path] = (project.path / "data" / "raw").iterdir()
    return pd.read_csv(path).tail(500)


def leaves_no_secret(project: BakedProject, service: Postgres | S3, *printed: str) -> bool:
    """Whether no file of the project, no commit and nothing printed has a secret of a service in any spelling."""
    project.run("git", "add", "--all")
    project.run("git", "-c", "user.name=A", "-c", "user.email=a@localhost", "commit", "--message", "A delivery")
    if isinstance(service, Postgres):
        known = [service.password, quote(service.password, safe="")]
    else:
        known = [service.key_id, service.key]
    return not any(found_in(secret, project, *printed) for secret in known)


def test_postgresql_is_asked_and_its_types_arrive(
    project: BakedProject, ingest: Callable[..., subprocess.CompletedProcess[str]], postgres: Postgres
) -> None:
    url = url_of(postgres)
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
    assert leaves_no_secret(project, postgres, done.stdout, done.stderr)


def test_the_password_may_come_from_the_environment(
    project: BakedProject, ingest: Callable[..., subprocess.CompletedProcess[str]], postgres: Postgres
) -> None:
    done = ingest(f"{postgres.url}/postgres", "--query", "SELECT 1 AS nothing", PGPASSWORD=postgres.password)

    assert "lacks the columns" in done.stderr


@pytest.mark.parametrize(
    ("password", "query", "sentence"),
    [
        ("wrong", "SELECT 1", "password authentication failed"),
        ("", "SELECT * FROM nowhere", "nowhere"),
        ("", "SELECT nextval('numbers')", "read-only transaction"),
    ],
)
def test_what_postgresql_refuses_is_one_sentence(
    project: BakedProject,
    ingest: Callable[..., subprocess.CompletedProcess[str]],
    postgres: Postgres,
    password: str,
    query: str,
    sentence: str,
) -> None:
    engine = sqlalchemy.create_engine(url_of(postgres))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SEQUENCE IF NOT EXISTS numbers")
    engine.dispose()

    done = ingest(url_of(postgres, password), "--query", query)

    assert done.returncode == 1
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert leaves_no_secret(project, postgres, done.stdout, done.stderr)


def test_a_file_on_s3_is_fetched_with_the_credentials_of_the_environment(
    project: BakedProject, ingest: Callable[..., subprocess.CompletedProcess[str]], s3: S3
) -> None:
    content = delivery(project).to_csv(index=False).encode()
    s3.bucket.put_object(Key="2026/new.csv", Body=content)

    done = ingest(f"s3://{BUCKET}/2026/new.csv", **s3.environment)
    missing = ingest(f"s3://{BUCKET}/2026/other.csv", **s3.environment)

    assert done.returncode == 0, done.stdout + done.stderr
    [path] = (project.path / "data" / "incoming").glob("*-new-*.parquet")
    assert len(pd.read_parquet(path)) == 500
    assert missing.returncode == 1
    assert f"s3://{BUCKET}/2026/other.csv could not be read" in missing.stderr
    assert leaves_no_secret(project, s3, done.stdout, done.stderr, missing.stderr)
