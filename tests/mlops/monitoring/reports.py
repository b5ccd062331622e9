"""Reports of the stage `monitor`, as small as they can be, for the tests of what reads many of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from mlops.base import files
from mlops.history import cache, paths


def report(
    digest: str = "d",
    *,
    rows: int = 100,
    drifted: Sequence[str] = (),
    shifts: Mapping[str, float | None] | None = None,
    deviations: Mapping[str, float] | None = None,
    answers: Sequence[str] = (),
    retraining: bool = False,
    metrics: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """A report on a delivery with the numbers `age` and `size`, and the category `level`.

    `shifts` of means are in percent; without `deviations` it is a report of a pipeline that did not have these.
    """
    moved = {"age": 1.0, "size": -2.0, "level": None} | dict(shifts or {})

    def column(name: str, kind: str) -> dict[str, Any]:
        given = name in drifted or name in answers
        return {
            "column": name,
            "kind": kind,
            "drifted": given,
            "effect": 0.5 if given else 0.01,
            "sample_sizes": [80, rows],
            "missing_shares": [0.2, 0.0],
            "baseline_mean": None if kind == "category" else 10.0,
            "mean_shift_percent": moved.get(name),
            **({"mean_shift_deviations": deviations.get(name)} if deviations else {}),
        }

    columns = [column(name, "category" if name == "level" else "number") for name in moved]
    alarm = bool(drifted or answers or retraining)
    return {
        "delivery": {"rows": rows, "files": {"march.csv": rows}, "digest": digest},
        "features": {"watched": len(columns), "drifted": list(drifted), "share": len(drifted) / 3},
        "predictions": {"count": rows, "drifted": list(answers), "metrics": dict(metrics or {})},
        "retraining": {"recommended": retraining, "reasons": ["2 of 3"] if retraining else []},
        "alarm": alarm,
        "verdict": f"{len(drifted)} of 3 features drifted",
        "columns": [*columns, column("prediction", "category")],
    }


def deliver(content: dict[str, Any]) -> None:
    """Put a report, and the delivery that it is about, into the project here, as `dvc repro` leaves them."""
    paths.INCOMING.mkdir(parents=True, exist_ok=True)
    (paths.INCOMING / "a.csv").write_text(content["delivery"]["digest"], encoding="utf-8")
    files.write_json(paths.DRIFT, content)
    sides = {"deps": paths.INCOMING, "outs": paths.DRIFT}
    entry = {side: [{"path": path.as_posix(), "md5": cache.md5(path)}] for side, path in sides.items()}
    files.write_json(paths.LOCK, {"stages": {"monitor": {"cmd": "look", **entry}}})  # JSON is YAML
    files.write_json(paths.PIPELINE, {"stages": {"monitor": {"cmd": "look", "deps": [paths.INCOMING.as_posix()]}}})
