"""Repositories that tests of the evidence look at: in memory for the predicates, real ones for what Git does."""

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlops.assessment.evidence import gathering
from mlops.assessment.evidence.answers import Answer
from mlops.assessment.evidence.facts import Facts
from mlops.assessment.evidence.repository import Blob, Repository
from mlops.assessment.evidence.systems import Run, Version
from mlops.base import yaml
from mlops.base.errors import StoreError
from mlops.registry import ledger

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = 86_400


@dataclass
class InMemory(Repository):
    """A repository whose objects are a dictionary, and whose history is a list of commits by path or mark."""

    contents: Mapping[str, bytes] = field(default_factory=dict)
    history: Mapping[str, Sequence[float]] = field(default_factory=dict)
    subjects: Sequence[str] = ()

    def _objects(self, names: list[str]) -> list[bytes | None]:
        return [self.contents.get(name) for name in names]

    def git(self, *arguments: str, seconds: float = 3) -> str:
        """The log of a path, of a mark, or of the subjects; ages are in days."""
        if any("%s" in one for one in arguments):
            return "".join(
                f"{place:040}\t{NOW.timestamp():.0f}\t{text}\t\0" for place, text in enumerate(self.subjects)
            )
        asked = next((one for one in arguments if one.startswith("--grep")), arguments[-1])
        if asked not in self.history and not asked.startswith("--grep") and "--" not in arguments:
            raise StoreError("there is no such command here")
        ages = self.history.get(asked, ())
        return "".join(f"{place:040} {NOW.timestamp() - age * DAY:.0f}\n" for place, age in enumerate(ages))


def facts(
    files: Mapping[str, str | bytes],
    *,
    runs: list[Run] | None = None,
    remote: str = "",
    ages: Mapping[str, float] | None = None,
    history: Mapping[str, Sequence[float]] | None = None,
    subjects: Sequence[str] = (),
    versions: list[Version] | None = None,
    log: list[Version] | None = None,
    **more: Any,
) -> Facts:
    """What is known of a repository with these files, commits (`ages` in days, `history`) and audit log (`log`)."""
    contents = {path: text if isinstance(text, bytes) else text.encode() for path, text in files.items()}
    blobs = {path: Blob(path, len(content)) for path, content in contents.items()}
    repository = InMemory(
        Path("nowhere"),
        NOW,
        "0" * 40,
        is_bare=False,
        is_shallow=more.pop("is_shallow", False),
        remote=remote,
        files=blobs,
        contents=contents,
        history=history or {},
        subjects=subjects,
        **more,
    )
    changed = {path: NOW.timestamp() - (ages or {}).get(path, 1) * DAY for path in files}
    vars(repository)["changes"] = changed
    found = gathering.facts_of(repository)
    vars(found)["runs"] = runs
    if found.own:
        vars(found.own)["versions"] = versions
        vars(found.own)["_registered"] = lambda _: log
    return found


def asked(predicate: str, found: Facts) -> Answer:
    """The answer of the predicate of that name."""
    known = {one.__name__: one for area in gathering.AREAS for one in area.PREDICATES}
    return known[predicate](found)


def run(name: str, conclusion: str = "success", *, days: float = 1, event: str = "push", branch: str = "main") -> Run:
    """A run of a workflow that ended so many days ago."""
    return Run(name, event, conclusion, NOW.timestamp() - days * DAY, f"https://host/runs/{name}", branch)


def workflow(*commands: str, on: str = "[push, pull_request]", name: str = "ci", more: str = "") -> str:
    """A workflow of GitHub Actions with one job that runs these commands."""
    steps = "".join(f"      - run: {json.dumps(command)}\n" for command in commands)
    return f"name: {name}\non: {on}\njobs:\n  work:\n    runs-on: ubuntu-latest\n{more}    steps:\n{steps}"


def committed(folder: Path, files: Mapping[str, str | bytes], *, config: Mapping[str, str] | None = None) -> Path:
    """A real Git repository with one commit of these files."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text if isinstance(text, bytes) else text.encode())
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "First")
    for name, value in (config or {}).items():
        git(folder, "config", name, value)
    return folder


def git(folder: Path, *arguments: str, check: bool = True) -> str:
    """What Git prints, to somebody without settings."""
    who = {
        f"GIT_{role}_{what}": value
        for role in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "Ada"), ("EMAIL", "a@b"))
    }
    env = {**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(["git", *arguments], cwd=folder, env=env, check=check, capture_output=True, text=True)
    return done.stdout.strip()


REPORTS: dict[str, Any] = {
    "reports/validation.json": {"passed": 45, "warnings": 0, "errors": 0, "checks": []},
    "reports/metrics.json": {"accuracy": 0.82},
    "reports/training.json": {"model": "random_forest"},
    "reports/evaluation.json": {"headline": "accuracy"},
    "reports/fairness.json": {"gaps": {"equalised_odds": 0.1}},
    "reports/behaviour.json": {
        "passed": 3,
        "failed": 0,
        "tests": [
            {"name": "odd input", "kind": "robustness", "passed": True},
            {"name": "alone", "kind": "serving", "passed": True},
        ],
    },
    "reports/registration.json": {
        "name": "churn",
        "passed": True,
        "rules": [
            {"rule": name, "measured": name, "comparison": "≥", "limit": 0.5, "actual": 0.8, "passed": True}
            for name in ("skill", "worst_group", "fairness")
        ],
    },
    "reports/drift.json": {
        "delivery": {"rows": 100},
        "predictions": {"count": 100, "metrics": {"accuracy": 0.8}},
        "retraining": {"recommended": False, "reasons": []},
        "verdict": "0 of 19 features drifted",
    },
}
PARAMS: dict[str, Any] = {
    "train": {"seed": 42, "search": {"candidates": 0}},
    "register": {
        "name": "churn",
        "approval": "required",
        "gate": {name: {"measure": name} for name in ("skill", "worst_group", "fairness")},
    },
    "monitor": {"minimum_accuracy": 0.7},
    "alerts": {"channels": ["log"], "issue": "none", "textfile": ""},
    "retrain": {"oldest_days": None, "search_trials": 0, "auto_merge": False},
    "serving": {"route": "champion", "mask": "none"},
    "features": {},
}


def project(
    *,
    reports: Mapping[str, Any] | None = None,
    params: Mapping[str, Mapping[str, Any]] | None = None,
    after: Mapping[str, str] | None = None,
    audit: Sequence[Mapping[str, Any]] = (),
    **files: str,
) -> dict[str, str]:
    """The files of a generated project with a current dvc.lock; `after` are changed without running it again."""
    found = {
        "mlops/VERSION": "1\n",
        "mlops/__main__.py": "",
        "mlops/base/code.py": "x = 1\n",
        "stages/train.py": "from mlops.base import code\n",
        "requirements.txt": "numpy==2.0.0\n",
        "Dockerfile": "FROM python\n",
        "schema.yaml": yaml.dumped({"columns": {"key": {"role": "id"}, "sex": {"sensitive": True}, "age": {}}}),
        "params.yaml": yaml.dumped(
            {name: {**values, **(params or {}).get(name, {})} for name, values in PARAMS.items()}
        ),
        "data/raw.dvc": yaml.dumped({"outs": [{"md5": f"{1:032}.dir", "path": "raw"}]}),
        ".dvc/config": "['remote \"storage\"']\n    url = s3://bucket\n",
        "reports/slices.csv": "column,level,rows,accuracy\nsex,f,50,0.8\nsex,m,50,0.8\n",
        "reports/search.csv": "candidate,mean,std,rank,failed\n",
        "reports/plots/importances.csv": "feature,importance\nage,0.1\n",
        "reports/plots/partial_dependence.csv": "feature,value,mean\nage,1,0.1\n",
        "tests/test_features.py": "def test_features(): pass\n",
        "tests/test_data.py": "def test_data(): pass\n",
        "tests/test_model.py": "def test_model(): pass\n",
        "tests/test_pipeline.py": "def test_pipeline(): pass\n",
    }
    written = {**REPORTS, **(reports or {})}
    found |= {path: json.dumps(content) for path, content in written.items() if content is not None}
    found |= {path.replace("__", "/"): text for path, text in files.items()}
    if audit:
        found["reports/audit.jsonl"] = "".join(f"{json.dumps(one)}\n" for one in linked(audit))
    outs = [path for path in written if path in found] + ["reports/search.csv", "reports/slices.csv"]
    stages = {
        "prepare": {"cmd": "python -m stages.prepare", "deps": ["schema.yaml"], "outs": ["data/prepared.parquet"]},
        "train": {
            "cmd": "python -m stages.train",
            "deps": ["data/raw", "stages/train.py", "mlops/base"],
            "params": ["train"],
            "outs": [{path: {"cache": False}} for path in outs],
        },
    }
    found["dvc.yaml"] = yaml.dumped({"stages": stages})
    found["dvc.lock"] = yaml.dumped(
        {"schema": "2.0", "stages": {name: _locked(one, found) for name, one in stages.items()}}
    )
    return found | dict(after or {})


def _locked(stage: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    read = yaml.parsed(files["params.yaml"], "params.yaml")
    outs = [next(iter(out)) if isinstance(out, dict) else out for out in stage["outs"]]
    return {
        "cmd": stage["cmd"],
        "deps": [{"path": path, "hash": "md5", **_digest(path, files)} for path in stage["deps"]],
        "params": {"params.yaml": {name: read[name] for name in stage.get("params", [])}},
        "outs": [{"path": path, "hash": "md5", **_digest(path, files)} for path in outs],
    }


def digest(text: str) -> dict[str, str]:
    """What DVC writes down of a file."""
    return {"md5": hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}


def _digest(path: str, files: Mapping[str, str]) -> dict[str, Any]:
    if path in files:
        return digest(files[path])
    inside = {name.removeprefix(f"{path}/"): text for name, text in files.items() if name.startswith(f"{path}/")}
    if not inside:
        return {"md5": f"{1:032}.dir" if path == "data/raw" else f"{2:032}"}
    entries = [{**digest(text), "relpath": name} for name, text in sorted(inside.items())]
    return {"md5": digest(json.dumps(entries))["md5"] + ".dir", "nfiles": len(inside)}


def linked(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Entries as the audit log has them, each with the hash of the one before."""
    found: list[dict[str, Any]] = []
    for one in entries:
        found.append(ledger.linked(one, found))
    return found


def entry(action: str, *, days: float = 1, **more: Any) -> dict[str, Any]:
    """An entry of the audit log."""
    when = datetime.fromtimestamp(NOW.timestamp() - days * DAY, UTC).isoformat(timespec="seconds")
    return {"action": action, "who": "Rita", "when": when, **more}
