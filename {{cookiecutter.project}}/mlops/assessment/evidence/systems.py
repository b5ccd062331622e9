"""The systems around a repository, as far as this person may read them: runs of workflows, and the model registry."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from mlops.base.errors import ProjectError
from mlops.retraining import hosting

SECONDS = 4.0  # for the host to answer
REACHED = 1.0  # for a connection to the tracking server
HURRY = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "3", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
RUNS = 100
RUN_FIELDS = "databaseId,workflowName,event,conclusion,createdAt,url,headBranch"
MOST_STEPS = 2_000_000  # of SQLite's machine: a database of a stranger may hold a view that never ends


@dataclass(frozen=True)
class Run:
    """A run of a workflow (GitHub) or of a job (GitLab): its result ("": not yet), start (Unix seconds) and URL."""

    name: str
    event: str
    conclusion: str
    started: float
    url: str
    branch: str
    id: str = ""


@dataclass(frozen=True)
class Version:
    """A version of a registered model: its number, its creation (Unix seconds), its aliases and its tags."""

    number: str
    created: float
    aliases: tuple[str, ...]
    tags: Mapping[str, str] = field(default_factory=dict)


def runs(remote: str, environment: Mapping[str, str] = os.environ) -> list[Run] | None:
    """The newest runs at the host of a remote, newest first; None where there is no access.

    Only hosts that this person's settings name are asked: the remote may be a stranger's, who would get the token.
    """
    host = hosting.host_of(remote, environment)
    try:
        if host.kind == "github" and host.name in _known(environment, "github.com", "GH_HOST", "GITHUB_SERVER_URL"):
            listed = ["--repo", f"{host.name}/{host.repository}", "--limit", str(RUNS), "--json", RUN_FIELDS]
            return _sorted(_github(run) for run in json.loads(_said("gh", "run", "list", *listed)))
        if host.kind == "gitlab" and host.name in _known(environment, "gitlab.com", "GITLAB_HOST", "CI_SERVER_HOST"):
            path = f"projects/{quote(host.repository, safe='')}/jobs?per_page={RUNS}"
            return _sorted(_gitlab(job) for job in json.loads(_said("glab", "api", "--hostname", host.name, path)))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, subprocess.SubprocessError):
        return None
    return None


def _known(environment: Mapping[str, str], default: str, *names: str) -> set[str]:
    given = (environment.get(name, "") for name in names)
    return {default} | {(urlsplit(one).hostname if "://" in one else one) or default for one in given}


def _said(tool: str, *arguments: str) -> str:
    """What a tool of the host prints. It stands in an empty folder, where no configuration of a repository counts."""
    if shutil.which(tool) is None:
        raise OSError(f"{tool} is not installed")
    settings = {"GH_PROMPT_DISABLED": "1", "NO_COLOR": "1", "GLAB_CHECK_UPDATE": "false", "GH_NO_UPDATE_NOTIFIER": "1"}
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(
            [tool, *arguments],
            cwd=folder,
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=SECONDS,
            check=True,
        ).stdout


def _github(run: Mapping[str, str]) -> Run:
    started = datetime.fromisoformat(run["createdAt"]).timestamp()
    facts = (run["workflowName"], run["event"], run["conclusion"], started, run["url"], run["headBranch"])
    return Run(*facts, str(run["databaseId"]))


def steps(remote: str, run: Run, environment: Mapping[str, str] = os.environ) -> dict[tuple[str, str], str] | None:
    """What came of each step of a run at GitHub, by the names of the job and the step; None without access.

    The step "" stands for the job itself.
    """
    host = hosting.host_of(remote, environment)
    if host.kind != "github" or host.name not in _known(environment, "github.com", "GH_HOST", "GITHUB_SERVER_URL"):
        return None
    found = {}
    try:
        said = _said("gh", "run", "view", run.id, "--repo", f"{host.name}/{host.repository}", "--json", "jobs")
        for job in json.loads(said)["jobs"]:
            found[job["name"], ""] = job["conclusion"]
            found |= {(job["name"], step["name"]): step["conclusion"] for step in job["steps"]}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, subprocess.SubprocessError):
        return None
    return found


def _gitlab(job: Mapping[str, Any]) -> Run:
    started = datetime.fromisoformat(job["created_at"]).timestamp()
    conclusion = {"success": "success", "failed": "failure"}.get(job["status"], "")
    return Run(
        job["name"], (job.get("pipeline") or {}).get("source", ""), conclusion, started, job["web_url"], job["ref"]
    )


def _sorted(found: Any) -> list[Run]:
    return sorted(found, key=lambda run: -run.started)


def versions(name: str, database: Path, environment: Mapping[str, str] = os.environ) -> list[Version] | None:
    """The versions of a model, newest first; None where no registry can be read.

    MLFLOW_TRACKING_URI wins, as everywhere; an address that only the repository names is not asked, since the password
    in the environment may not be meant for it. `database` is the local store, which is only read.
    """
    address = environment.get("MLFLOW_TRACKING_URI", "")
    if address.startswith(("http://", "https://")):
        return _of_server(name, address) if _reachable(address) else None
    if address.startswith("sqlite:////"):
        from mlops.registry import sqlite_store

        database = sqlite_store.file_of(address) or database
    elif address:
        return None
    return _of_database(name, database)


def _reachable(address: str) -> bool:
    parts = urlsplit(address)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with socket.create_connection((parts.hostname or "", port), timeout=REACHED):
            return True
    except (OSError, ValueError):
        return False


def _of_server(name: str, address: str) -> list[Version] | None:
    from mlops.registry import registry

    try:
        with _in_a_hurry(), registry.opened(address) as client:
            return [
                Version(each.number, datetime.fromisoformat(each.created).timestamp(), each.aliases, each.tags)
                for each in registry.versions(client, name)
            ]
    except ProjectError:
        return None


@contextmanager
def _in_a_hurry() -> Iterator[None]:
    """Let MLflow give up soon, where it would try again for minutes."""
    before = {name: os.environ.get(name) for name in HURRY}
    os.environ.update(HURRY)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _of_database(name: str, database: Path) -> list[Version] | None:
    """MLflow's tables, read without MLflow, whose import takes a second and which would write to an old store."""
    if not database.is_file() or database.is_symlink():
        return None
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=1)) as store:
            store.execute("PRAGMA trusted_schema = OFF")
            steps = iter(range(MOST_STEPS // 1000))
            store.set_progress_handler(lambda: int(next(steps, None) is None), 1000)
            rows = store.execute(
                "SELECT version, creation_time FROM model_versions WHERE name = ? ORDER BY version DESC", (name,)
            ).fetchall()
            tags = store.execute(
                "SELECT version, key, value FROM model_version_tags WHERE name = ?", (name,)
            ).fetchall()
            aliases = store.execute(
                "SELECT version, alias FROM registered_model_aliases WHERE name = ?", (name,)
            ).fetchall()
    except sqlite3.Error:
        return None
    found = []
    for number, created in rows:
        own = {str(key): str(value) for version, key, value in tags if version == number}
        if "taken_back" not in own:
            names = tuple(sorted(str(alias) for version, alias in aliases if version == number))
            found.append(Version(str(number), float(created) / 1000, names, own))
    return found
