"""The names of the pipeline's files, as `dvc.yaml` has them (a test compares). Stages get theirs as arguments."""

import re
from pathlib import Path

PIPELINE = Path("dvc.yaml")
LOCK = Path("dvc.lock")
SCHEMA = Path("schema.yaml")
DECLARATIONS = Path("behaviour.yaml")
REQUIREMENTS = Path("requirements.txt")

RAW = Path("data/raw")
INCOMING = Path("data/incoming")
EVENTS = Path("data/events")
TRAIN = Path("data/prepared/train.parquet")
TEST = Path("data/prepared/test.parquet")
REFERENCE = Path("data/prepared/reference.parquet")
PREDICTIONS = Path("data/prepared/predictions.parquet")
MODEL = Path("models/model.joblib")

DATASET = Path("reports/dataset.json")
TRAINING = Path("reports/training.json")
CROSS_VALIDATED = Path("reports/cross_validated.json")
METRICS = Path("reports/metrics.json")
BASELINE = Path("reports/baseline.json")
EVALUATION = Path("reports/evaluation.json")
SLICES = Path("reports/slices.csv")
FAIRNESS = Path("reports/fairness.json")
BEHAVIOUR = Path("reports/behaviour.json")
PLOTS = Path("reports/plots")
REGISTRATION = Path("reports/registration.json")
DRIFT = Path("reports/drift.json")

# Not written by the pipeline: the mirror of the audit log.
AUDIT = Path("reports/audit.jsonl")

# What .dvcignore keeps out of a folder of code.
LEFTOVER = re.compile(
    r"/__pycache__/|~$|\.sw.$|/\.#|#$|/\.(ipynb_checkpoints|mypy_cache|ruff_cache)/|/\.DS_Store$|\.part$"
)

# Where code is, of all that a stage depends on.
CODE = ("mlops/", "project/", "stages/", REQUIREMENTS.as_posix())


def is_code(path: str) -> bool:
    """Whether a dependency of a stage is code, be it a file or a folder, and no data."""
    return path.startswith(CODE)


def files_of(path: Path) -> list[Path]:
    """The files of a dependency, sorted: a file itself, or those in a folder, without what Python leaves there."""
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file() and not LEFTOVER.search(file.as_posix()))
