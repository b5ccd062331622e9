"""params.yaml is read into types; every mistake in it is named, with what was probably meant."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from jinja2 import Environment
from mlops.base import params
from mlops.base.errors import ParameterError, StoreError
from ruamel.yaml import YAML

from tests.conftest import PROJECT, TEMPLATE, BakedProject

GOOD = {
    "compute": {"scheduler": "tcp://10.0.0.1:8786", "folder": "s3://models/shared"},
    "prepare": {"split": "stratified", "test_size": 0.2, "seed": 42, "duplicates": "keep"},
    "validate": {
        "missing_warning": 0.3,
        "duplicate_warning": 0.05,
        "smallest_class_warning": 0.05,
        "overlap_warning": 0.05,
    },
    "features": {
        "time": "asked",
        "tables": {
            "orders": {
                "file": "data/events/orders.csv",
                "entity": "customer",
                "time": "ordered",
                "decimal": ",",
                "owner": "shop",
                "aggregates": [
                    {"function": "sum", "column": "amount", "days": [7, 0.5]},
                    {"function": "days_since"},
                ],
            },
        },
    },
    "train": {
        "task": "auto",
        "positive": None,
        "model": "forest",
        "folds": 5,
        "seed": 42,
        "threads": 1,
        "rare_level": 10,
        "max_levels": 100,
        "encoded_megabytes": 500,
        "balance": "classes",
        "threshold": {"false_positive": 1, "false_negative": 20.5},
        "calibrate": "sigmoid",
        "search": {
            "candidates": 20,
            "metric": "auto",
            "space": {"forest": {"n_estimators": [10, 20], "max_features": ["sqrt", None, 0.5]}, "ridge": {}},
        },
    },
    "models": {
        "forest": {"classifier": "sklearn.ensemble.RandomForestClassifier", "n_estimators": 10, "max_depth": None},
        "ridge": {"regressor": "sklearn.linear_model.Ridge"},
    },
    "evaluate": {
        "metric": "auto",
        "resamples": 100,
        "confidence": 0.95,
        "importance_repeats": 5,
        "smallest_group": 30,
        "seed": 42,
    },
    "register": {
        "name": "demo",
        "mode": "enforce",
        "approval": "required",
        "gate": {
            "minimum": {"measure": "test", "metric": "auto", "direction": "at_least", "limit": 0.75},
            "overfitting": {"measure": "overfitting", "direction": "below", "limit": 0.1},
        },
    },
    "card": {
        **{"purpose": "Whom to call", "users": "", "not_for": "", "limits": ["Made up"], "owner": "Ada"},
        "retrained": {"model": "a" * 64, "trigger": "drift, age", "reasons": ["8 of 19 features drifted"]},
    },
    "monitor": {
        "features": "all",
        "p_value": 0.05,
        "ks_distance": 0.1,
        "cramers_v": 0.1,
        "unseen_share": 0.05,
        "missing_change": 0.05,
        "domain_auc": 0.55,
        "drifted_share": 0.3,
        "minimum_accuracy": 0.7,
        "windows": 3,
        "needed": 2,
    },
    "alerts": {
        "channels": ["log", "email"],
        "issue": "gitlab",
        "textfile": "/srv/mlops.prom",
        "email_to": ["ada@example.org"],
        "email_from": "shop@example.org",
        "cooldown_hours": 12.0,
    },
    "retrain": {
        "drift": "alarm",
        "metric": "f1_macro",
        "minimum": 0.7,
        "oldest_days": 30.5,
        "new_rows": None,
        "label_days": 14.0,
        "search_trials": 20,
        "auto_merge": True,
    },
    "sweep": {
        "seed": 42,
        "space": {
            "models.forest.max_depth": {"low": 3, "high": 20},
            "models.ridge.alpha": {"low": 0.01, "high": 10.0, "log": True},
        },
    },
    "serving": {
        "route": "canary",
        "share": 0.1,
        "key": "customer id",
        "steps": [0.02, 0.5],
        "step_requests": 100,
        "step_minutes": 0.5,
        "alpha": 0.05,
        "tolerated_ratio": 1.1,
        "prediction_ratio": 2.0,
        "slow_ms": 12.5,
        "max_rows": 10,
        "body_megabytes": 0.5,
        "timeout_seconds": 2.0,
        "rate_limit": 20.0,
        "log_megabytes": 50.0,
        "mask": "sensitive",
        "folder": "/srv/model",
    },
    "tracking": {"uri": "", "experiment": "demo"},
}


def written(folder: Path, section: str = "", /, **changes: object) -> Path:
    """A params.yaml in which some values of one section are changed."""
    content = {name: dict(values) for name, values in GOOD.items()}
    if section:
        content[section] = {**content.get(section, {}), **changes}
    path = folder / "params.yaml"
    YAML(typ="safe", pure=True).dump(content, path)
    return path


@pytest.mark.parametrize("section", params.SECTIONS)
def test_every_section_is_read_as_it_is_written(section: str, tmp_path: Path) -> None:
    loaded = params.load(params.SECTIONS[section], written(tmp_path))

    dumped = loaded.model_dump(exclude_unset=True)
    assert dumped == GOOD[section]


ORDERS = GOOD["features"]["tables"]["orders"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"time": ""}, "params.yaml: features: time is empty: name the column of the rows"),
        ({"tables": {"Orders": ORDERS}}, "Orders is no name of a table"),
        ({"tables": {"orders": ORDERS | {"time": "customer"}}}, "entity and time are both customer"),
        ({"tables": {"orders": ORDERS | {"aggregates": []}}}, "features.tables.orders.aggregates is []"),
        ({"tables": {"orders": ORDERS | {"windows": [7]}}}, "features.tables.orders.windows is unknown"),
        ({"tables": {"orders": ORDERS | {"aggregates": [{"function": "sum"}]}}}, "sum needs a column of the events"),
        (
            {"tables": {"orders": ORDERS | {"aggregates": [{"function": "days_since", "days": [7]}]}}},
            "days_since has no window: leave out days",
        ),
        (
            {"tables": {"orders": ORDERS | {"aggregates": [{"function": "count", "days": [7, 7.0]}]}}},
            "orders_count_7d would be made twice",
        ),
        (
            {"tables": {"orders": ORDERS | {"aggregates": [{"function": "max", "column": "ordered"}]}}},
            "ordered says whose an event is or when it was",
        ),
    ],
)
def test_history_that_makes_no_sense_is_refused_in_a_sentence(
    changes: dict[str, object], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ParameterError) as error:
        params.load(params.Features, written(tmp_path, "features", **changes))

    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_columns_of_history_are_called_by_table_function_column_and_window(tmp_path: Path) -> None:
    features = params.load(params.Features, written(tmp_path))

    assert features.names == ["orders_sum_amount_7d", "orders_sum_amount_0.5d", "orders_days_since"]
    assert features.keys == ["asked", "customer"]
    assert features.definition.tables["orders"].owner == ""


def test_an_estimator_has_paths_and_everything_else_is_an_argument(tmp_path: Path) -> None:
    forest = params.load(params.Models, written(tmp_path)).choose("forest")

    assert (forest.classifier, forest.regressor) == ("sklearn.ensemble.RandomForestClassifier", None)
    assert forest.arguments == {"n_estimators": 10, "max_depth": None}


def test_a_misspelt_model_is_answered_with_the_nearest(tmp_path: Path) -> None:
    models = params.load(params.Models, written(tmp_path))

    with pytest.raises(
        ParameterError, match=r"train\.model is forrest, which is not below models: did you mean forest\?"
    ):
        models.choose("forrest")
    with pytest.raises(ParameterError, match="known are forest, ridge"):
        models.choose("xyz")


def test_a_misspelt_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    path = written(tmp_path, "prepare", tets_size=0.2)

    with pytest.raises(ParameterError, match=r"params\.yaml: prepare\.tets_size is unknown: did you mean test_size\?"):
        params.load(params.Prepare, path)


def test_all_mistakes_of_a_section_are_named_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "train", folds=1, task="cluster", seed=-1, thread=1)

    with pytest.raises(ParameterError) as error:
        params.load(params.Train, path)

    for mistake in ("train.folds is 1: ", "train.task is 'cluster': ", "train.seed is -1: ", "did you mean threads?"):
        assert mistake in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("size", [-0.2, 0, 1, 1.5, "half", None])
def test_a_test_size_that_is_no_share_is_refused(size: object, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=rf"prepare\.test_size is {size!r}: "):
        params.load(params.Prepare, written(tmp_path, "prepare", test_size=size))


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("prepare", "split", "stratify"),
        ("prepare", "duplicates", True),
        ("prepare", "seed", 1.5),
        ("validate", "missing_warning", 30),
        ("train", "threads", 0),
        ("train", "max_levels", 1),
        ("train", "encoded_megabytes", 0),
        ("train", "balance", True),
        ("train", "calibrate", "platt"),
        ("evaluate", "confidence", 95),
        ("evaluate", "resamples", 0),
        ("register", "name", ""),
        ("monitor", "p_value", 0),
        ("monitor", "features", "some"),
        ("tracking", "experiment", ""),
        ("retrain", "drift", "always"),
        ("retrain", "oldest_days", 0),
        ("retrain", "new_rows", -0.1),
        ("retrain", "label_days", -1),
        ("retrain", "search_trials", 1.5),
        ("serving", "route", "blue_green"),
        ("serving", "share", 1),
        ("serving", "key", 7),
        ("serving", "step_requests", 0),
        ("serving", "step_minutes", -1),
        ("serving", "alpha", 0),
        ("serving", "tolerated_ratio", 0.9),
        ("serving", "prediction_ratio", math.inf),
        ("serving", "slow_ms", "fast"),
        ("serving", "slow_ms", 0),
        ("serving", "slow_ms", True),
        ("serving", "max_rows", 0),
        ("serving", "body_megabytes", 0),
        ("serving", "timeout_seconds", 0),
        ("serving", "rate_limit", -1),
        ("serving", "log_megabytes", 0),
        ("serving", "mask", True),
        ("serving", "folder", ""),
    ],
)
def test_a_value_out_of_range_is_named_with_what_was_found(
    section: str, name: str, value: object, tmp_path: Path
) -> None:
    with pytest.raises(ParameterError, match=rf"params\.yaml: {section}\.{name}.* is {value!r}: "):
        params.load(params.SECTIONS[section], written(tmp_path, section, **{name: value}))


@pytest.mark.parametrize(
    "value",
    [
        *(-0.1, 0, 1, 1.5, 95, math.nan, True, None, []),
        {"false_positive": 1},
        {"false_positive": -1, "false_negative": 20},
        {"false_positive": 0, "false_negative": 0},
        {"false_positive": 1, "false_negative": math.inf},
        {"false_positive": 1, "false_negative": math.nan},
        {"false_positive": 1, "false_negative": "20"},
        {"false_positive": 1, "false_negative": 20, "true_positive": 0},
    ],
)
def test_what_is_no_threshold_is_told_once_with_what_is(value: object, tmp_path: Path) -> None:
    with pytest.raises(ParameterError) as error:
        params.load(params.Train, written(tmp_path, "train", threshold=value))

    said = str(error.value)
    assert "params.yaml: train.threshold is " in said
    assert ": expected is a number between 0 and 1, auto, a metric, or two costs of at least 0, such as " in said
    assert said.count("expected") == 1
    assert said.endswith("{false_positive: 1, false_negative: 20}")


@pytest.mark.parametrize("value", [0.5, 0.01, "auto", "f1_positive"])
def test_a_threshold_is_a_number_or_a_word(value: object, tmp_path: Path) -> None:
    assert params.load(params.Train, written(tmp_path, "train", threshold=value)).threshold == value


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([0.05, 0.05], "every share must be larger than the one before it"),
        ([0.25, 0.05], "every share must be larger than the one before it"),
        ([0.01, 1.0], "less than 1"),
        ([0, 0.5], "greater than 0"),
        ([], "at least 1 item"),
        (0.5, "valid list"),
    ],
)
def test_steps_of_a_canary_are_rising_shares(steps: object, words: str, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=rf"serving\.steps.*{words}"):
        params.load(params.Serving, written(tmp_path, "serving", steps=steps))


@pytest.mark.parametrize("text", ["", "train:\n", "prepare: {}\n"])
def test_a_section_that_is_not_there_has_its_defaults(text: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")

    for kind in params.KINDS:
        assert params.load(kind, tmp_path / "params.yaml") == kind()


def test_a_value_that_is_not_there_has_its_default_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("evaluate: {resamples: 7}\nregister: {name: demo, gate: {}}\n", encoding="utf-8")

    assert params.load(params.Evaluate, path) == params.Evaluate(resamples=7)
    assert params.load(params.Register, path).approval == "required"
    assert params.load(params.Register, path).gate == {}


def test_the_generated_file_shows_every_parameter_with_its_default(bake: Callable[..., BakedProject]) -> None:
    path = bake(ci="none").path / "params.yaml"
    # The gate of the example has an absolute minimum as well, and so has its monitor.
    answers = {"register": {"name", "gate"}, "card": {"purpose", "owner"}, "tracking": {"experiment"}}
    answers["monitor"] = {"minimum_accuracy"}
    # What is long, and of use only with the models beside it.
    shown_only = {"train": {"search"}, "sweep": {"space"}}

    content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))

    assert set(content) == set(params.SECTIONS)
    for name, kind in params.SECTIONS.items():
        if name == "models":
            continue
        apart = answers.get(name, set()) | shown_only.get(name, set())
        assert set(content[name]) == set(kind.model_fields), name
        assert params.load(kind, path).model_dump(exclude=apart) == kind().model_dump(exclude=apart), name
    assert set(content["train"]["search"]) == set(params.Search.model_fields)
    assert params.load(params.Monitor, path).minimum_accuracy == 0.7
    gate = params.load(params.Register, path).gate
    assert {name: gate.pop(name).limit for name in ("minimum", "worst_group")} == {"minimum": 0.75, "worst_group": 0.6}
    assert gate == params.Register().gate


@pytest.mark.parametrize("answers", [{"data": "loans.csv", "target": "default"}, {"target": "contract"}])
def test_the_gate_of_own_data_has_no_absolute_minimum_and_says_where_one_is_set(answers: dict[str, str]) -> None:
    known = {"data": "example", "target": "churn", **dict.fromkeys(("project", "author", "description"), "x")}
    options = json.loads((TEMPLATE / "cookiecutter.json").read_text(encoding="utf-8"))["_jinja2_env_vars"]
    source = (TEMPLATE / PROJECT / "params.yaml").read_text(encoding="utf-8")

    rendered = Environment(**options).from_string(source).render(cookiecutter=known | answers)  # noqa: S701

    register = params.Register.model_validate(YAML(typ="safe").load(rendered)["register"])
    assert register.gate == params.Register().gate
    assert "minimum: {measure: test, " in rendered


def test_a_gate_that_names_no_skill_asks_for_it_all_the_same() -> None:
    named = params.SKILL.model_copy(update={"limit": 0.01})

    assert params.Register(gate={}).rules == {"skill": params.SKILL}
    assert params.Register(gate={"better": named}).rules == {"better": named}


def test_a_file_of_the_first_version_is_still_read_whole() -> None:
    path = Path(__file__).with_name("params-0.1.yaml")

    loaded = {kind: params.load(kind, path) for kind in params.KINDS}

    assert loaded[params.Train].search.space["random_forest"]["n_estimators"] == [100, 200, 300]
    assert next(iter(loaded[params.Models].root)) == "random_forest"
    assert loaded[params.Register].gate["minimum"].limit == 0.75
    assert params.effective(path)["train"]["folds"] == 5


def test_an_unknown_section_is_answered_with_the_nearest(tmp_path: Path) -> None:
    path = written(tmp_path, "mointor")

    with pytest.raises(ParameterError, match=r"unknown section mointor: did you mean monitor\?"):
        params.load(params.Prepare, path)


def test_a_file_without_sections_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("[]\n", encoding="utf-8")

    with pytest.raises(ParameterError, match=r"params\.yaml holds no sections: its sections are prepare, "):
        params.load(params.Prepare, tmp_path / "params.yaml")


def test_a_file_that_is_no_yaml_or_not_there_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("prepare: {split: [\n", encoding="utf-8")

    with pytest.raises(StoreError, match=r"params\.yaml is no valid YAML: .*line") as error:
        params.load(params.Prepare, tmp_path / "params.yaml")
    assert "\n" not in str(error.value)
    with pytest.raises(StoreError, match=r"other\.yaml could not be read"):
        params.load(params.Prepare, tmp_path / "other.yaml")


@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", "sqlite://", "sqlite:mlflow.db"])
def test_a_relative_sqlite_path_is_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="a relative SQLite path would be another store"):
        params.load(params.Tracking, written(tmp_path, "tracking", uri=uri))


@pytest.mark.parametrize("uri", ["", "sqlite:////srv/mlflow.db", "http://tracking:5000", "postgresql://u:p@db/x"])
def test_other_tracking_uris_are_taken_as_they_are(uri: str, tmp_path: Path) -> None:
    assert params.load(params.Tracking, written(tmp_path, "tracking", uri=uri)).uri == uri


def test_parameters_cannot_be_changed_after_reading(tmp_path: Path) -> None:
    prepare = params.load(params.Prepare, written(tmp_path))

    with pytest.raises(ValueError, match="frozen"):
        prepare.seed = 1  # type: ignore[misc]


def test_what_a_model_depends_on_is_recorded_and_where_runs_are_kept_is_not(tmp_path: Path) -> None:
    recorded = params.recorded(written(tmp_path))

    assert recorded == {name: GOOD[name] for name in (*params.RECORDED, "features")}
    assert params.recorded(written(tmp_path, "features", tables={})).keys() == set(params.RECORDED)  # as ever
    assert "tracking" not in recorded
    assert "monitor" not in recorded


@pytest.mark.parametrize(
    ("dimension", "words"),
    [
        ({"low": 3, "high": 3}, "low is 3 and high is 3: low must be the smaller one"),
        ({"low": 0, "high": 1, "log": True}, "low is 0, which has no logarithm"),
        ([], "at least 1 item"),
        ({"low": 1, "hihg": 2}, "hihg"),
    ],
)
def test_a_space_that_cannot_be_drawn_from_is_named(dimension: object, words: str, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=words) as raised:
        params.load(params.Sweep, written(tmp_path, "sweep", space={"models.ridge.alpha": dimension}))

    assert "models.ridge.alpha" in str(raised.value)


def test_a_range_is_of_whole_numbers_if_both_ends_are(tmp_path: Path) -> None:
    space = params.load(params.Sweep, written(tmp_path)).space

    assert [dimension.whole for dimension in space.values() if isinstance(dimension, params.Range)] == [True, False]


def test_nested_parameters_are_flat_under_dotted_names_as_dvc_writes_them() -> None:
    nested = {"train": {"model": "forest", "search": {"space": {"forest": {"depth": [1, {"a": 2}]}}}}, "seed": None}

    assert params.flat(nested) == {
        "train.model": "forest",
        "train.search.space.forest.depth": [1, {"a": 2}],
        "seed": None,
    }
