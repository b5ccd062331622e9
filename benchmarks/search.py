"""The search inside `train` beside Optuna alone: `python -m benchmarks.search TRAIN.parquet CANDIDATES.csv`."""

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from benchmarks.measure import (
    TEMPLATE,
    NotToBeHadError,
    Row,
    Side,
    copied,
    environment,
    locked,
    rows,
    run,
    stage,
    turns,
)

TITLE = "Search of hyperparameters"
PACKAGES = ("scikit-learn", "pandas", "joblib")
MODEL, FOLDS, SEED = "random_forest", 5, 42
ABOUT = """
The stage `train` with a search of random forests, all of it: reading, cross-validating each candidate on five folds,
fitting the best one. Optuna alone gets the same rows, folds, estimator and the very candidates (`enqueue_trial`),
with scikit-learn's usual `ColumnTransformer`, and the folds of a trial run in parallel; it fits the best one, too.
Ours encodes each fold once for all candidates, and runs candidates in parallel. The mean accuracies of both are
compared, so that it is the same work. In `train`, candidates are drawn at random, so that the same seed gives the
same bytes on any number of cores.

**What Optuna does that we do not:** samplers that learn from trials (`sweep` has them, by Optuna), pruning of poor
trials, many objectives, a database of studies that many machines share, a dashboard, and importance of
hyperparameters.
"""


def measure(options: Namespace) -> list[Row]:
    """Both sides with so many candidates besides that of params.yaml."""
    project, count = copied("search"), options.candidates
    params = project / "params.yaml"
    text = params.read_text(encoding="utf-8")
    params.write_text(text.replace("candidates: 0 ", f"candidates: {count} "), encoding="utf-8")
    what, ours = f"{count + 1} candidates on {FOLDS} folds", Side(stage(project, "train"), project)
    try:
        python = environment("optuna", "optuna", *locked("scikit-learn", "pandas", "pyarrow", "joblib"))
    except NotToBeHadError as error:
        return [Row(what, "s", turns({"ours": ours}, 1)["ours"].seconds, "Optuna", note=str(error))]
    run(project, *ours.command)
    files = [str(project / name) for name in ("data/prepared/train.parquet", "reports/search.csv")]
    peer = Side([python, "-m", "benchmarks.search", *files], TEMPLATE)
    best = json.loads((project / "reports" / "training.json").read_text(encoding="utf-8"))["search"]["best"]["mean"]
    theirs = float(run(TEMPLATE, *peer.command).split()[-1])
    costs = turns({"ours": ours, "Optuna": peer}, options.repeat)
    return [*rows(what, costs), Row("accuracy of the best", "mean of the folds", best, "Optuna", theirs)]


def optuna_alone(train: Path, candidates: Path) -> float:
    """Try the candidates with Optuna as its manual begins, fit the best one; its mean accuracy."""
    import optuna
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    table = pd.read_parquet(train)
    rows, target = table.drop(columns=["customer_id", "churn"]), table["churn"]
    numbers = [name for name in rows if rows[name].dtype.kind in "fi"]
    rows = rows.astype(dict.fromkeys(numbers, "float64")).astype(
        {name: "object" for name in rows if name not in numbers}
    )
    encoder = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
            ("levels", OneHotEncoder(handle_unknown="ignore"), rows.columns.difference(numbers)),
        ]
    )

    def model(arguments: dict[str, Any]) -> Any:
        return make_pipeline(encoder, RandomForestClassifier(**arguments, random_state=SEED))

    def objective(trial: Any) -> float:
        arguments = {
            "n_estimators": trial.suggest_categorical("n_estimators", [100, 200, 300]),
            "max_depth": trial.suggest_int("max_depth", 3, 20),
            "min_samples_leaf": trial.suggest_int("min_samples_leaf", 1, 50, log=True),
            "max_features": trial.suggest_categorical("max_features", ["sqrt", 0.3, 0.5]),
        }
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
        return float(cross_val_score(model(arguments), rows, target, cv=folds, n_jobs=-1).mean())

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=SEED))
    tried = pd.read_csv(candidates, dtype={"max_features": "object"})
    for each in tried[["n_estimators", "max_depth", "min_samples_leaf", "max_features"]].to_dict("records"):
        part = each["max_features"]
        study.enqueue_trial({**each, "max_features": part if part == "sqrt" else float(part)})
    study.optimize(objective, n_trials=len(tried))
    model(study.best_params).fit(rows, target)
    return float(study.best_value)


if __name__ == "__main__":
    print(optuna_alone(Path(sys.argv[1]), Path(sys.argv[2])))
