"""A search gives the candidates of its seed, judges them as cross-validation does, and keeps the best."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joblib import parallel_config
from mlops.base import files, params, yaml
from mlops.base.errors import ParameterError
from mlops.intake import tables
from mlops.training import encoding, estimators, fitting, search
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_info

from tests.conftest import PROJECT, TEMPLATE
from tests.mlops.training.samples import PATHS, SCHEMA, data

ROOT = TEMPLATE / PROJECT
TRAIN = {"model": "forest", "folds": 3}
C = params.Range(low=0.001, high=100.0, log=True)
DEPTH = params.Range(low=1, high=4)


def drawn(name: str, space: search.Space, count: int, seed: int = 7, **arguments: object) -> list[dict[str, Any]]:
    model = estimators.build(name, PATHS[name], arguments, "classification", seed=5)
    return search.candidates(name, model, space, count, seed)


def searched(
    name: str, tried: Sequence[Mapping[str, Any]], metric: str = "accuracy", many: Sequence[str] = ()
) -> list[search.Candidate]:
    """These arguments of a model, judged on three folds."""
    table, target = data()
    encoder = encoding.encoder(SCHEMA, list(many), 5, "classification", seed=5)
    models = [estimators.build(name, PATHS[name], one, "classification", seed=5) for one in tried]
    cut = fitting.folds(target, None, "classification", 3, seed=3)
    outcomes = list(search.search(encoder, models, table, target, cut, "yes", threads=1))
    return search.collected([dict(one) for one in tried], outcomes, metric)


@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(0, 30))
def test_more_candidates_begin_with_those_of_fewer(seed: int, few: int, more: int) -> None:
    space: search.Space = {"C": C, "max_iter": params.Range(low=1, high=5), "fit_intercept": [True, False]}

    some, all_of_them = (drawn("logistic", space, count, seed) for count in (few, few + more))

    assert len(some) == few + 1
    assert all_of_them[: len(some)] == some


def test_the_first_candidate_is_what_the_model_is_given_and_no_other_is_equal() -> None:
    space: search.Space = {"max_depth": DEPTH, "max_features": ["sqrt", 0.5]}

    found = drawn("forest", space, 5, max_depth=3, max_features="sqrt")

    assert found[0] == {"max_depth": 3, "max_features": "sqrt"}
    assert len({repr(one) for one in found}) == 6


def test_an_argument_that_the_model_is_not_given_begins_with_its_default() -> None:
    assert drawn("logistic", {"C": C, "max_iter": [7, 8]}, 1)[0] == {"C": 1.0, "max_iter": 100}


@pytest.mark.parametrize(("own", "others"), [(2, 7), (9, 8)])
@pytest.mark.parametrize("count", [8, 20, 500])
def test_a_small_space_is_tried_as_a_whole_and_once(own: int, others: int, count: int) -> None:
    space: search.Space = {"max_depth": DEPTH, "max_features": ["sqrt", 0.5, "sqrt"]}

    found = drawn("forest", space, count, max_depth=own, max_features="sqrt")

    wanted = {(depth, most) for depth in (1, 2, 3, 4) for most in ("sqrt", 0.5)} | {(own, "sqrt")}
    assert sorted(map(str, (tuple(one.values()) for one in found))) == sorted(map(str, wanted))
    assert len(found) == 1 + others


def test_rare_values_of_a_small_space_are_tried_too() -> None:
    """Evenly by its logarithm, 400 comes once in 2,500 draws."""
    found = drawn("forest", {"min_samples_leaf": params.Range(low=1, high=400, log=True)}, 1000, min_samples_leaf=1)

    assert sorted(one["min_samples_leaf"] for one in found) == list(range(1, 401))


def test_a_space_that_holds_nothing_but_what_the_model_is_given_leaves_that() -> None:
    assert drawn("logistic", {"C": [1.0]}, 5) == [{"C": 1.0}]


def test_numbers_that_are_equal_and_mean_different_things_are_different_candidates() -> None:
    """Of a forest, 1 is one feature and 1.0 all of them."""
    found = drawn("forest", {"max_features": [1, 1.0]}, 5)

    assert {repr(one["max_features"]) for one in found} == {"'sqrt'", "1", "1.0"}


@given(
    st.integers(0, 1000),
    st.tuples(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6)).filter(lambda ends: ends[0] < ends[1]),
    st.booleans(),
)
def test_numbers_stay_in_their_range_and_have_six_digits(seed: int, ends: tuple[float, float], log: bool) -> None:
    among = params.Range(low=ends[0], high=ends[1], log=log)

    values = [one["C"] for one in drawn("logistic", {"C": among}, 20, seed, C=-1)[1:]]

    assert all(type(value) is float and ends[0] <= value <= ends[1] for value in values)
    assert all(value in ends or value == float(f"{value:.6g}") for value in values)


@given(st.integers(0, 1000), st.integers(1, 50), st.integers(1, 1000), st.booleans())
def test_whole_numbers_are_drawn_from_a_range_of_whole_numbers(seed: int, low: int, wide: int, log: bool) -> None:
    among = params.Range(low=low, high=low + wide, log=log)

    values = [one["max_depth"] for one in drawn("forest", {"max_depth": among}, 20, seed)[1:]]

    assert all(type(value) is int and low <= value <= low + wide for value in values)


def test_a_logarithmic_range_has_as_many_candidates_in_each_decade() -> None:
    values = np.array([one["C"] for one in drawn("logistic", {"C": C}, 2000)[1:]])

    per_decade, _ = np.histogram(np.log10(values), bins=5, range=(-3, 2))

    assert per_decade == pytest.approx([400] * 5, rel=0.15)


def test_without_a_search_nothing_varies_whatever_the_space() -> None:
    assert drawn("logistic", {"c": [1.0]}, 0) == [{}]
    assert drawn("logistic", {}, 0) == [{}]


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        ({}, r"params\.yaml has no train\.search\.space\.logistic to draw from: add it, or set .*candidates to 0"),
        ({"max_itr": [1]}, r"train\.search\.space\.logistic\.max_itr is no argument .*: did you mean max_iter\?"),
        ({"depth": [1]}, r"params\.yaml: train\.search\.space\.logistic\.depth is no argument .*: known are C, "),
        ({"n_jobs": [1]}, r"train\.search\.space\.logistic\.n_jobs is no argument that can be varied"),
    ],
)
def test_a_space_that_cannot_be_searched_is_named_with_what_to_do(space: search.Space, sentence: str) -> None:
    with pytest.raises(ParameterError, match=sentence):
        drawn("logistic", space, 5)


@pytest.mark.parametrize("wrong", ["much", [], {"low": 2, "high": 1}, {"low": 1, "high": math.inf}, [[1]]])
def test_what_is_neither_a_range_nor_a_list_of_values_is_refused_where_it_stands(wrong: object, tmp_path: Path) -> None:
    wanted = {"candidates": 1, "metric": "auto", "space": {"forest": {"max_depth": wrong}}}
    (tmp_path / "params.yaml").write_text(yaml.dumped({"train": {**TRAIN, "search": wanted}}), encoding="utf-8")

    with pytest.raises(ParameterError, match=r"train\.search\.space\.forest\.max_depth"):
        params.load(params.Train, tmp_path / "params.yaml")


def test_a_misspelt_metric_is_refused_before_anything_is_fitted() -> None:
    assert search.metric_named("log_loss") == "log_loss"
    with pytest.raises(ParameterError, match=r"train\.search\.metric is acuracy, which .*: did you mean accuracy\?"):
        search.metric_named("acuracy")


@pytest.mark.parametrize("many", [[], ["level"]])
@pytest.mark.parametrize(
    ("name", "tried"),
    [
        ("forest", [{"n_estimators": 10}, {"n_estimators": 5, "max_depth": 2}]),
        ("boosting", [{"max_iter": 10}, {"max_iter": 5, "learning_rate": 0.3}]),
        ("logistic", [{"C": 1.0}, {"C": 0.01}, {"C": 37.5}]),
    ],
)
def test_a_candidate_scores_what_cross_validation_gives_it(
    name: str, tried: list[dict[str, Any]], many: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last bit, and with the means of a target, which training rows get from other rows than test rows do."""
    monkeypatch.setattr(fitting, "ROWS", 30)
    table, target = data()
    cut = fitting.folds(target, None, "classification", 3, seed=3)
    encoder = encoding.encoder(SCHEMA, many, 5, "classification", seed=5)

    found = searched(name, tried, many=many)

    for candidate, arguments in zip(found, tried, strict=True):
        alone = fitting.pipeline(encoder, estimators.build(name, PATHS[name], arguments, "classification", seed=5))
        assert candidate.folds == list(fitting.cross_validate(alone, table, target, cut, "yes", threads=1))


def test_the_number_of_cores_changes_no_score() -> None:
    tried = [{"n_estimators": 5, "max_depth": depth} for depth in (1, 3)]

    with parallel_config(backend="threading", n_jobs=1):
        alone = searched("forest", tried)

    assert searched("forest", tried) == alone


def test_an_estimator_has_no_more_threads_than_it_has_in_cross_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenMP's limit is a thread's own: those that joblib starts do not inherit it."""
    seen = []
    fit = HistGradientBoostingClassifier.fit
    monkeypatch.setattr(
        HistGradientBoostingClassifier,
        "fit",
        lambda self, *rows: seen.append({one["num_threads"] for one in threadpool_info()}) or fit(self, *rows),
    )

    searched("boosting", [{"max_iter": 2}, {"max_iter": 3}])

    assert seen == [{1}] * 6


def test_a_number_is_searched_for_as_cross_validation_judges_it() -> None:
    table, _ = data()
    target = np.nan_to_num(table["size"].to_numpy()) * 2 + np.random.default_rng(2).normal(size=len(table))
    encoder = encoding.encoder(SCHEMA, ["level"], 5, "regression", seed=5)
    ridges = [
        estimators.build("ridge", "sklearn.linear_model.Ridge", {"alpha": alpha}, "regression", seed=5)
        for alpha in (1.0, 100.0)
    ]
    cut = fitting.folds(target, None, "regression", 3, seed=3)

    outcomes = list(search.search(encoder, ridges, table, target, cut, None, threads=1))

    assert [number for number, _ in outcomes] == [0, 1] * 3
    for number, ridge in enumerate(ridges):
        alone = fitting.cross_validate(fitting.pipeline(encoder, ridge), table, target, cut, None, threads=1)
        assert [scores for who, scores in outcomes if who == number] == list(alone)


def test_an_estimator_that_works_in_place_cannot_change_the_rows_of_the_others() -> None:
    table, target = data()
    numbers = np.arange(len(target), dtype=np.float64)
    encoder = encoding.encoder(SCHEMA, [], 5, "regression", seed=5)
    path = "sklearn.linear_model.Ridge"
    ridges = [estimators.build("ridge", path, {"copy_X": copy}, "regression", seed=5) for copy in (False, True)]
    cut = fitting.folds(numbers, None, "regression", 3, seed=3)

    outcomes = list(search.search(encoder, ridges, table, numbers, cut, None, threads=1))

    for number, ridge in enumerate(ridges):
        alone = fitting.cross_validate(fitting.pipeline(encoder, ridge), table, numbers, cut, None, threads=1)
        assert [scores for who, scores in outcomes if who == number] == list(alone)


def test_a_candidate_that_is_refused_fails_with_its_reason_and_the_others_go_on() -> None:
    found = searched("logistic", [{"C": 1.0}, {"C": -1}, {"C": 0.1}])

    assert [candidate.number for candidate in found if candidate.failed] == [1]
    assert found[1].failed.startswith("LogisticRegression could not be fitted: The 'C' parameter")
    assert found[1].folds == []
    assert math.isnan(found[1].mean)
    table = search.table(found, "accuracy")
    assert table["rank"].isna().tolist() == [False, True, False]
    assert table["failed"].tolist() == ["", found[1].failed, ""]


def test_a_candidate_without_the_metric_fails() -> None:
    """Only some losses give probabilities."""
    found = searched("descent", [{"loss": "hinge"}, {"loss": "log_loss"}], "roc_auc")

    assert found[0].failed == "roc_auc is not defined for what it predicts"
    assert search.best(found, "roc_auc").number == 1


def test_if_every_candidate_is_refused_the_first_reason_is_an_error() -> None:
    found = searched("logistic", [{"C": -2}, {"C": -1}])

    with pytest.raises(ParameterError, match=r"all 2 candidates of train\.search failed, .*parameter.*Got -2 instead"):
        search.best(found, "accuracy")


@pytest.mark.parametrize(("metric", "chosen"), [("accuracy", 1), ("log_loss", 2)])
def test_the_best_is_that_of_the_metrics_direction_and_the_first_of_equals(metric: str, chosen: int) -> None:
    means = [0.5, 0.7, 0.3, 0.7, 0.3]
    tried = [search.Candidate(number, {"C": number}, [{}], mean, 0.1) for number, mean in enumerate(means)]

    assert search.best(tried, metric).number == chosen
    ranks = search.table(tried, metric)["rank"].tolist()
    assert ranks == ([3, 1, 4, 2, 5] if metric == "accuracy" else [3, 4, 1, 5, 2])


def test_the_table_has_a_column_per_argument_spelt_as_in_params_yaml(tmp_path: Path) -> None:
    tried = [
        search.Candidate(0, {"max_depth": None, "max_features": "sqrt"}, [{}], 0.5, 0.01),
        search.Candidate(1, {"max_depth": 3, "max_features": 0.123456}, [], math.nan, math.nan, "not, so"),
    ]

    files.write_csv(tmp_path / "search.csv", search.table(tried, "accuracy"))

    assert (tmp_path / "search.csv").read_text(encoding="utf-8").splitlines() == [
        "candidate,max_depth,max_features,mean,std,rank,failed",
        "0,null,sqrt,0.5,0.01,1,",
        '1,3,0.123456,,,,"not, so"',
    ]


def test_the_report_sets_the_best_beside_what_the_model_was_given() -> None:
    tried = [search.Candidate(number, {"C": number}, [{}], mean, 0.1) for number, mean in enumerate([0.5, 0.7])]

    assert search.report(tried, tried[1], "accuracy") == {
        "metric": "accuracy",
        "candidates": 2,
        "failed": 0,
        "chosen": 1,
        "arguments": {"C": 1},
        "configured": {"mean": 0.5, "std": 0.1},
        "best": {"mean": 0.7, "std": 0.1},
    }


def test_without_a_search_there_is_a_header_and_no_report(tmp_path: Path) -> None:
    found = searched("logistic", [{}], "no such metric")

    files.write_csv(tmp_path / "search.csv", search.table(found, "accuracy"))

    assert (tmp_path / "search.csv").read_text(encoding="utf-8") == "candidate,mean,std,rank,failed\n"
    assert search.report(found, search.best(found, "accuracy"), "accuracy") is None
    assert len(found[0].folds) == 3


STAGE = [sys.executable, "-m", "stages.train", "train.parquet", "schema.yaml"]
OUTPUTS = {
    "--model": "model.joblib",
    "--report": "training.json",
    "--metrics": "cross_validated.json",
    "--candidates": "search.csv",
}


def trained(
    folder: Path, model: str, wanted: dict[str, Any], environment: dict[str, str], **arguments: Any
) -> subprocess.Popen[str]:
    """`train` begun in a folder of its own, with this model, its `arguments` and this search."""
    folder.mkdir()
    table, target = data()
    tables.write(folder / "train.parquet", table.astype({"level": "str"}).assign(y=pd.array(target, dtype="str")))
    columns = {name: column.model_dump(exclude_defaults=True) for name, column in SCHEMA.columns.items()}
    (folder / "schema.yaml").write_text(yaml.dumped({"columns": columns}), encoding="utf-8")
    models = {name: {"classifier": path} for name, path in PATHS.items()}
    models[model] |= arguments
    content = {"train": {**TRAIN, "model": model, "search": {"metric": "auto", **wanted}}, "models": models}
    (folder / "params.yaml").write_text(yaml.dumped(content), encoding="utf-8")
    (folder / "requirements.txt").write_bytes((ROOT / "requirements.txt").read_bytes())
    where = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    options = [part for pair in OUTPUTS.items() for part in pair]
    return subprocess.Popen([*STAGE, *options], cwd=folder, env=where, stdout=subprocess.PIPE, text=True)


def test_a_search_writes_the_same_bytes_on_any_number_of_cores_and_with_any_hash_seed(tmp_path: Path) -> None:
    """A candidate that is refused is among them: scikit-learn's reason names a set of values."""
    space = {
        "boosting": {
            "max_iter": [5, 10],
            "interaction_cst": ["pairwise", "pairs"],
            "l2_regularization": {"low": 0.0, "high": 1.0},
        }
    }
    one = {"PYTHONHASHSEED": "1", "LOKY_MAX_CPU_COUNT": "1", "OMP_NUM_THREADS": "1"}
    four = {"PYTHONHASHSEED": "4", "LOKY_MAX_CPU_COUNT": "4", "OMP_NUM_THREADS": "4"}
    begun = [
        trained(tmp_path / str(number), "boosting", {"candidates": 6, "space": space}, environment)
        for number, environment in enumerate((one, four))
    ]

    said = [process.communicate()[0] for process in begun]

    assert [process.returncode for process in begun] == [0, 0]
    assert said[0] == said[1]
    for name in OUTPUTS.values():
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "1" / name).read_bytes(), name
    tried = files.read_csv(tmp_path / "0" / "search.csv")
    report = json.loads((tmp_path / "0" / "training.json").read_text(encoding="utf-8"))
    assert len(tried) == 7
    assert 0 < tried["failed"].notna().sum() == report["search"]["failed"] < 7
    best = tried[tried["rank"] == 1].iloc[0]
    assert best["candidate"] == report["search"]["chosen"]
    assert report["arguments"]["l2_regularization"] == best["l2_regularization"]
    assert report["cross_validated"]["accuracy"] == report["search"]["best"]
    assert f"candidate {best['candidate']} of 6" in said[0]


def test_the_best_of_a_search_put_into_params_yaml_gives_the_same_model(tmp_path: Path) -> None:
    space = {"logistic": {"C": {"low": 0.001, "high": 100.0, "log": True}}}
    assert trained(tmp_path / "searched", "logistic", {"candidates": 4, "space": space}, {}).wait() == 0
    report = json.loads((tmp_path / "searched" / "training.json").read_text(encoding="utf-8"))

    best = report["search"]["arguments"]
    assert trained(tmp_path / "chosen", "logistic", {"candidates": 0}, {}, **best).wait() == 0

    searched, chosen = (tmp_path / name / "model.joblib" for name in ("searched", "chosen"))
    assert report["search"]["chosen"] > 0
    assert chosen.read_bytes() == searched.read_bytes()
