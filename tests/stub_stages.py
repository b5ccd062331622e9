"""Stages that take a tenth of a second: for tests of what DVC, Git and the commands do around a pipeline.

`conftest.stub` copies this file into a generated project as `stages/__init__.py`. The project's `dvc.yaml` stays the
real one, so a stage gets the real arguments and writes the real files: reports that follow the parameters, and
digests of the inputs in place of models, tables and pages.
"""

import hashlib
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

Settings = dict[str, Any]
# Options that name what a stage reads; all others name what it writes.
READ = {"evaluate": ("tests",), "register": ("slices", "plots", "predictions", "reference")}


def files_of(path: Path) -> list[Path]:
    """A file itself, or the files in a folder."""
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())


def prepare(settings: Settings, inputs: list[Path]) -> dict[str, Any]:
    rows = sum(len(file.read_bytes().splitlines()) - 1 for file in files_of(inputs[0]))
    return {"report": {"rows": rows, "digest": digest(settings["prepare"], inputs)}}


def validate(settings: Settings, inputs: list[Path]) -> dict[str, Any]:
    return {"report": {"errors": 0}}


def train(settings: Settings, inputs: list[Path]) -> dict[str, Any]:
    """The accuracy falls with the distance of C from 1."""
    wanted, estimator = settings["train"], settings["models"][settings["train"]["model"]]
    strength = estimator.get("C", 1.0)
    if strength <= 0:
        sys.exit(f"Error: {wanted['model']} could not be fitted: C is {strength}")
    mean = 0.8 - 0.01 * abs(math.log10(strength))
    return {
        "metrics": {"accuracy": mean},
        "report": {
            "model": wanted["model"],
            "task": "classification",
            "headline": {"metric": "accuracy", "reason": ""},
            "arguments": estimator,
            "cross_validated": {"accuracy": {"mean": mean, "std": 0.01}},
            "folds": [{"accuracy": mean, "rows": digest(fold, inputs)} for fold in range(wanted["folds"])],
        },
    }


def evaluate(settings: Settings, inputs: list[Path]) -> dict[str, Any]:
    return {"metrics": {"accuracy": 0.8}, "baseline": {"accuracy": 0.5}, "report": {}, "fairness": {}}


def register(settings: Settings, inputs: list[Path]) -> dict[str, Any]:
    """A run is a file beside the tracking store, named after the experiment that it belongs to."""
    store = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{os.environ.get('DVC_ROOT', Path.cwd())}/mlflow.db")
    runs = Path(store.removeprefix("sqlite:///")).parent / "mlruns"
    runs.mkdir(exist_ok=True)
    (runs / os.environ.get("DVC_EXP_NAME", "HEAD")).touch()
    return {"report": {"passed": True, "name": settings["register"]["name"]}}


def monitor(settings: Settings, inputs: list[Path]) -> dict[str, Any]:
    return {"report": {"alarm": False}}


def digest(content: Any, inputs: list[Path]) -> str:
    """SHA-256 of plain values and of the bytes of files."""
    found = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for file in (file for path in inputs for file in files_of(path)):
        found.update(file.read_bytes())
    return found.hexdigest()


def main(stage: str, arguments: list[str]) -> None:
    """Write every output that the command names."""
    first = next(number for number, argument in enumerate(arguments) if argument.startswith("--"))
    options = dict(zip(arguments[first::2], arguments[first + 1 :: 2], strict=True))
    inputs = [Path(argument) for argument in arguments[:first]]
    settings = YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))
    said = globals()[stage](settings, inputs)
    for option, value in options.items():
        path, name = Path(value), option.removeprefix("--")
        if name in READ.get(stage, ()):
            continue
        if name == "plots":
            path = path / "importances.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = said.get(name, digest(settings.get(stage), inputs))
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
