"""What the drift page shows, made by hand in the shapes of `reports/drift.json` and of the history of checks."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from mlops.base.params import Monitor
from mlops.data.profile import distribution
from mlops.data.schema import Column, Schema
from mlops.monitoring import panels, verdict
from mlops.training.metrics import Predictions

HOSTILE = '<script>alert("x")</script> & "quotes"'
ASSUMPTION = "assumed: among rows with the same probability, the same share comes true as on the test split"
START = datetime(2026, 1, 5, 2, 0, tzinfo=UTC)


def shown(columns: int = 12, extended: bool = True) -> dict[str, Any]:
    """The page of a delivery of 2,000 rows; `extended` by the facts of estimates, labels, measures and the whole."""
    draw = np.random.default_rng(7)
    names = [HOSTILE, *(f"feature_{number}_with_a_name" for number in range(1, columns))]
    known: dict[str, Column] = {}
    then, now = {}, {}
    for number, name in enumerate(names):
        if number % 3 == 0:
            known[name] = Column(type="category")
            levels = [f"<b>level</b> {level} with a longer name" for level in range(6)]
            shares = draw.dirichlet(np.ones(6) * 3)
            moved = np.roll(shares, number % 2)
            then[name] = distribution(pd.Series(draw.choice([*levels[:5], "gone"], 4000, p=shares)), "category")
            now[name] = distribution(pd.Series(draw.choice(levels, 2000, p=moved)), "category")
        else:
            known[name] = Column(type="number", unit="kg" if number % 3 == 1 else None)
            values = draw.gamma(2, 10_000 if number % 3 == 1 else 1, 4000)
            later = draw.gamma(2 + 0.5 * (number % 4 == 1), values.mean() / 2, 2000)
            later[: 40 * (number % 5)] = np.nan
            then[name], now[name] = (distribution(pd.Series(side), "number") for side in (values, later))
    probability = draw.beta(2, 5, 2000)
    predicted = np.where(probability > 0.5, "yes", "no").astype(object)
    answers = Predictions(predicted, predicted, np.column_stack([1 - probability, probability]), ("no", "yes"), "yes")
    labels = pd.Series(np.where(draw.random(2000) < 0.8, predicted, "no"), dtype=object)
    test = pd.DataFrame({"prediction": predicted[:900], "probability": draw.beta(2, 4, 900)})
    _, content = verdict.compare(
        *(then, now, test, answers, labels),
        Schema(columns=known | {"left": Column(type="category", role="target")}),
        "classification",
        Monitor(drifted_share=0.9),
        pd.Series({name: 0.1 / (1 + number) for number, name in enumerate(names[:-2])}, dtype="float64"),
    )
    delivery = {"rows": 2000, "files": {"<i>may</i>.csv": 2000}, "digest": "d" * 64}
    content = {"delivery": delivery, **content}
    return _extended(content) if extended else content


def _extended(content: dict[str, Any]) -> dict[str, Any]:
    for column in [*content["columns"], *content["answers"]]:
        distance = {"wasserstein": 0.31} if column["kind"] == "number" else {"jensen_shannon": 0.1234}
        column["measures"] = {**distance, "psi": 0.25}
        column["vanished_levels"], column["vanished_level_count"] = [], 0
        if column["kind"] == "category":
            column["vanished_levels"], column["vanished_level_count"] = ["gone"], 1
    labelled = {"rows": 300, "share": 0.15, "by_class": {"no": 0.1, "yes": 0.3}}
    predictions = {**content["predictions"], "labelled": labelled, "labels_one_sided": True}
    parts = [{"column": column["column"], "importance": 0.2 / (1 + at)} for at, column in enumerate(content["columns"])]
    together = {"auc": 0.712, "low": 0.68, "high": 0.744, "drifted": True, "rows": [4000, 2000], "columns": parts[:6]}
    extension = {"multivariate": together, "estimated": estimated(0.78, trusted=False)}
    report = {**content, "predictions": predictions, **extension}
    return panels.page(report, content["answers"], content["columns"])


def estimated(value: float, trusted: bool = True) -> dict[str, Any]:
    """An estimate of accuracy and AUC, as `estimated.estimate` makes it."""
    interval = {"value": value, "low": value - 0.02, "high": value + 0.02, "test": 0.8}
    return {
        "metrics": {"accuracy": interval, "roc_auc": {name: part + 0.04 for name, part in interval.items()}},
        "assumption": ASSUMPTION,
        "trusted": trusted,
        "why_not": None if trusted else "the rows are unlike the training data",
    }


def history(weeks: int = 52, names: list[str] | None = None) -> dict[str, Any]:
    """A year of weekly checks with drift from summer on, a pause, an odd delivery, and three versions of the model."""
    columns = names or [HOSTILE, "tenure", "contract"]
    checks, at, before = [], START, None
    for week in range(weeks):
        at += timedelta(days=28 if week == weeks // 3 else 7)
        moved = max(0.0, (week % 20 - 12) / 40)
        effects = {
            column: round(0.02 + moved / (1 + place) + 0.01 * math.sin(week + place), 4)
            for place, column in enumerate(columns)
        }
        drifted = [column for column, effect in effects.items() if effect >= 0.1]
        version = 1 + week // 20
        checks.append(
            {
                **{"commit": f"{week:040x}", "time": at.isoformat(), "model": f"m{version}", "version": version},
                "delivery": {"rows": 80 if week == 30 else 1000 + 37 * (week % 9), "digest": f"d{week}", "names": []},
                **{"verdict": f"{len(drifted)} drifted", "alarm": bool(drifted), "retraining": moved > 0.15},
                **{"drifted": drifted, "effects": effects, "mean_shifts": {}},
                "multivariate": {
                    **{"auc": 0.52 + moved, "low": 0.5 + moved, "high": 0.54 + moved, "drifted": moved > 0.05},
                    **{"rows": [5000, 1000], "columns": []},
                },
                "estimated": estimated(0.8 - moved / 3, trusted=moved < 0.1),
                "realised": {} if week > weeks - 6 else {"accuracy": 0.79 - moved / 2 + 0.01 * math.sin(week)},
                "gap_days": None if before is None else (at - before).total_seconds() / 86_400,
                "rows_unusual": week == 30,
            }
        )
        before = at
    events = [
        {
            **{"time": (START + timedelta(days=days)).isoformat(), "action": action, "version": version},
            **{"who": "Ada <ada@example.org>", "reason": "accuracy fell below the limit, and the gate was passed"},
        }
        for days, action, version in [
            (7, "promoted", 1),
            (166, "canary", 2),
            (170, "promoted", 2),
            (200, "rolled back", 1),
        ]
        if days < 7 * weeks
    ]
    moved = {"percent": -12.5, "deviations": -0.31}
    shifts = [{"column": columns[0], **moved, "commit": "0" * 40, "time": START.isoformat()}]
    return {"baseline_stats": {}, "drift_history": checks, "summary": {"largest_mean_shifts": shifts}, "events": events}
