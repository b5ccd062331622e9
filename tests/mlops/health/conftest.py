"""A small project in order: Git, a remote of DVC, a store of MLflow and a manifest, all made by hand."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from mlops.health import machinery, storage, tracking
from mlops.health.finding import Finding
from mlops.history import cache

from tests.mlops.conftest import HandMade

TABLES = (
    "CREATE TABLE alembic_version (version_num TEXT)",
    "CREATE TABLE runs (run_uuid TEXT, start_time BIGINT, status TEXT, lifecycle_stage TEXT)",
)


class Project(HandMade):
    """What the tests break, and how the checks find it."""

    @property
    def storage(self) -> Path:
        """The folder of the remote."""
        return self.path.with_name("storage")

    def store(self, statement: str, *values: Any) -> None:
        """Change the store by SQL."""
        with closing(sqlite3.connect(self.path / "mlflow.db")) as store, store:
            store.execute(statement, values)

    def shell(self, command: str) -> None:
        """Run the command of a finding, as it stands."""
        # A person's environment is active.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**os.environ, "EDITOR": "true", "PATH": path}
        done = subprocess.run(["bash", "-c", command], cwd=self.path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

    def snapshot(self) -> dict[str, bytes]:
        """All files but those of Git's own, with their content."""
        every = (path for path in self.path.rglob("*") if path.is_file() and not path.is_symlink())
        return {path.relative_to(self.path).as_posix(): path.read_bytes() for path in every if ".git" not in path.parts}


@pytest.fixture
def project(handmade: HandMade, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project in which every check is fine; nothing in it was run."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    made = Project(handmade.path)
    made.storage.mkdir()
    made.write(".dvc/config", "[core]\n    analytics = false\n    remote = storage\n")
    with (made.path / ".dvc" / "config").open("a") as file:
        file.write("['remote \"storage\"']\n    url = ../../storage\n")
    made.write(".gitignore", "/mlflow.db*\n/mlruns/\n/.retrain/\n/serving/\n*.part\n")
    made.write("params.yaml", {"train": {"model": "forest"}})
    made.write("schema.yaml", {"columns": made.columns})
    (made.path / "data" / "raw").mkdir(parents=True)
    (made.path / "data" / "raw" / "a.csv").write_text("key,churn\n1,Yes\n", encoding="utf-8")
    made.write("data/.gitignore", "/raw\n")
    digest = cache.md5(made.path / "data" / "raw")
    file = cache.md5(made.path / "data" / "raw" / "a.csv")
    listing = json.dumps([{"md5": file, "relpath": "a.csv"}])
    made.write("data/raw.dvc", {"outs": [{"md5": digest, "hash": "md5", "path": "raw"}]})
    for name, content in ((digest, listing), (file, "key,churn\n1,Yes\n")):
        for root in (made.path / ".dvc" / "cache", made.storage):
            place = root / "files" / "md5" / name[:2] / name[2:]
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(content, encoding="utf-8")
    made.write("dvc.yaml", {"stages": {"look": {"cmd": "true", "deps": ["data/raw"]}}})
    made.write(
        "dvc.lock",
        {"schema": "2.0", "stages": {"look": {"cmd": "true", "deps": [{"path": "data/raw", "md5": digest}]}}},
    )
    for table in TABLES:
        made.store(table)
    made.store("INSERT INTO alembic_version VALUES (?)", tracking.revisions()[1][0])
    (made.path / "mlruns").mkdir()
    made.write("mlops/VERSION", "0.1.0\n")
    made.write("mlops/base/files.py", "print()\n")
    contents = {name: (made.path / "mlops" / name).read_bytes() for name in ("VERSION", "base/files.py")}
    made.write("mlops/MANIFEST", "".join(f"{machinery.digest(text)}  {name}\n" for name, text in contents.items()))
    made.commit("Start")
    monkeypatch.setattr(storage, "stale", lambda seconds: [])  # DVC takes a second to say so
    return made


def now() -> datetime:
    """The time; the fixtures of other tests may take minutes."""
    return datetime.now(UTC)


def found(check: Any) -> list[Finding]:
    """What a check finds."""
    return list(check(now()))


def bad(check: Any) -> list[Finding]:
    """What a check finds, and is not fine."""
    return [finding for finding in found(check) if finding.state != "fine"]


def remove(path: Path) -> None:
    """Remove a file or a folder."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()
