"""Where a result comes from: digests of the model, data, parameters and code, the commit, and the person."""

import getpass
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from mlops.base import files, params, yaml
from mlops.history import git, paths

EXPERIMENT = "experiment"  # the tags `stage` and `training_type` of a run in a DVC experiment
STAGES_OF_MODEL = ("prepare", "validate", "train", "evaluate")


def digests(model: Path, data: str) -> dict[str, str]:
    """The SHA-256 digests that identify a result: model file, data (a content digest), parameters and code."""
    return {"model": files.sha256(model), "data": data, "params": digest(params.recorded()), "code": code_digest()}


def code_digest() -> str:
    """SHA-256 of the code behind a model: requirements.txt and all code that the stages up to `evaluate` depend on."""
    stages = yaml.read(paths.PIPELINE)["stages"]
    deps = {Path(path) for name in STAGES_OF_MODEL for path in stages[name]["deps"] if paths.is_code(path)}
    return digest({file.as_posix(): files.sha256(file) for dep in deps for file in paths.files_of(dep)})


def digest(content: dict[str, Any]) -> str:
    """SHA-256 of plain values, independent of the order of keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def tags() -> dict[str, str]:
    """Tags of a run: who ran it, in CI or locally, and which DVC experiment or person started it.

    An experiment has the tag `baseline`, too: the commit that it started from.
    """
    in_ci, name = bool(os.environ.get("CI")), experiment()
    tags = {
        "author": identity() or git.run("log", "-1", "--format=%an <%ae>", default="").strip() or _user(),
        "environment": "ci" if in_ci else "local",
        "training_type": EXPERIMENT if name else "automatic" if in_ci else "manual",
        "stage": EXPERIMENT if name else "candidate",
    }
    own = {"experiment": name, "baseline": os.environ.get("DVC_EXP_BASELINE_REV", "")} if name else {}
    return tags | own | ({"user": user} if (user := account()) else {})


def account() -> str:
    """This person's account at the tracking server; empty if there is none."""
    return os.environ.get("MLFLOW_TRACKING_USERNAME", "")


def identity() -> str:
    """This person's name in Git, as `Name <address>`; empty if Git has none.

    The variables GIT_AUTHOR_NAME and GIT_AUTHOR_EMAIL win, as in Git.
    """
    name, address = (
        os.environ.get(f"GIT_AUTHOR_{part.upper()}") or git.run("config", f"user.{part}", default="").strip()
        for part in ("name", "email")
    )
    return f"{name} <{address}>" if name or address else ""


def experiment() -> str | None:
    """The name of the DVC experiment that runs this process; None outside an experiment."""
    return os.environ.get("DVC_EXP_NAME")


def root() -> Path:
    """The folder of the project; in `dvc exp run --temp` and `--queue` the original project, not its copy."""
    return Path(os.environ.get("DVC_ROOT", Path.cwd())).resolve()


def _user() -> str:
    """The user name of this process; the user id if there is no name, as in many containers."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"
