"""Where a result comes from: digests of the code and the parameters, the commit, and who ran it."""

import getpass
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from mlops.base import files, params, yaml
from mlops.history import git, paths

MADE_BY = ("prepare", "validate", "train", "evaluate")


def digests(model: Path, data: str) -> dict[str, str]:
    """The identity of a result (SHA-256): its model file, its data (a content digest), the parameters and the code."""
    return {
        "model": files.sha256(model),
        "data": data,
        "params": digest(params.recorded()),
        "code": code_digest(),
    }


def code_digest() -> str:
    """SHA-256 of the code behind a model: all code that the stages up to its metrics depend on, and the lock."""
    stages = yaml.read(paths.PIPELINE)["stages"]
    deps = {Path(path) for name in MADE_BY for path in stages[name]["deps"] if paths.is_code(path)}
    return digest({file.as_posix(): files.sha256(file) for dep in deps for file in paths.files_of(dep)})


def digest(content: dict[str, Any]) -> str:
    """SHA-256 of plain values, whatever the order in which they are written."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def tags() -> dict[str, str]:
    """Who made a run, where, from which commit, and why: by hand, automatically (CI) or as an experiment of a sweep."""
    in_ci, name = bool(os.environ.get("CI")), experiment()
    tags = {
        "author": identity() or git.run("log", "-1", "--format=%an <%ae>", default="").strip() or _user(),
        "commit": os.environ.get("DVC_EXP_BASELINE_REV") or git.run("rev-parse", "HEAD", default="").strip(),
        "environment": "ci" if in_ci else "local",
        "training_type": "experiment" if name else "automatic" if in_ci else "manual",
        "stage": "experiment" if name else "candidate",
    }
    return tags | ({"experiment": name} if name else {}) | ({"user": user} if (user := account()) else {})


def account() -> str:
    """Who this is to the tracking server; empty where it does not ask."""
    return os.environ.get("MLFLOW_TRACKING_USERNAME", "")


def identity() -> str:
    """Who this is to Git, as `Name <address>`; empty where Git does not know."""
    name, address = (git.run("config", f"user.{part}", default="").strip() for part in ("name", "email"))
    return f"{name} <{address}>" if name or address else ""


def experiment() -> str | None:
    """The name of the DVC experiment that this process belongs to, if any."""
    return os.environ.get("DVC_EXP_NAME")


def root() -> Path:
    """The project: under `dvc exp run --temp` and `--queue` the parent repository, not the clone that runs."""
    return Path(os.environ.get("DVC_ROOT", Path.cwd())).resolve()


def _user() -> str:
    """The name of the account; its number where it has none, as in many a container."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())
