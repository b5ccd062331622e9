"""Estimators are built from a path and arguments in params.yaml; every mistake in them is one sentence."""

import pytest
from mlops.base.errors import ParameterError
from mlops.training import estimators

FOREST = "sklearn.ensemble.RandomForestClassifier"


def test_an_estimator_has_the_arguments_that_were_given_and_the_seed() -> None:
    estimator = estimators.build("forest", FOREST, {"n_estimators": 7}, "classification", seed=3)

    assert type(estimator).__name__ == "RandomForestClassifier"
    assert estimator.get_params()["n_estimators"] == 7
    assert estimator.get_params()["random_state"] == 3


def test_an_own_random_state_wins_over_the_seed() -> None:
    estimator = estimators.build("forest", FOREST, {"random_state": 11}, "classification", seed=3)

    assert estimator.get_params()["random_state"] == 11


def test_an_estimator_without_randomness_takes_no_seed() -> None:
    estimator = estimators.build("neighbours", "sklearn.neighbors.KNeighborsClassifier", {}, "classification", seed=3)

    assert "random_state" not in estimator.get_params()


def test_parallel_work_inside_an_estimator_is_switched_off() -> None:
    estimator = estimators.build("forest", FOREST, {"n_jobs": 8}, "classification", seed=3)

    assert estimator.get_params()["n_jobs"] is None


@pytest.mark.parametrize("path", ["sklearn.ensemble.RandomForrest", "sklearn.nothing.X", "nothing", "", "..", "a."])
def test_a_path_that_leads_nowhere_is_named_with_its_place(path: str) -> None:
    with pytest.raises(ParameterError) as error:
        estimators.build("forest", path, {}, "classification", seed=3)

    assert str(error.value).startswith(
        f"params.yaml: models.forest.classifier is {path!r}, which cannot be imported: give a full path"
    )


@pytest.mark.parametrize("path", ["sklearn.metrics.accuracy_score", "pathlib.Path", "sklearn.ensemble"])
def test_what_is_no_estimator_is_refused(path: str) -> None:
    with pytest.raises(ParameterError, match=r"models\.forest\.regressor is .*(no estimator|cannot be imported)"):
        estimators.build("forest", path, {}, "regression", seed=3)


def test_an_estimator_that_needs_another_one_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"models\.vote\.classifier is .*cannot be made from params\.yaml alone"):
        estimators.build("vote", "sklearn.ensemble.VotingClassifier", {}, "classification", seed=3)


def test_a_misspelt_argument_is_answered_with_the_nearest() -> None:
    with pytest.raises(
        ParameterError, match=r"models\.forest\.n_estimatrs is no argument of .*did you mean n_estimators\?"
    ):
        estimators.build("forest", FOREST, {"n_estimatrs": 7}, "classification", seed=3)


def test_an_argument_like_no_other_is_answered_with_all() -> None:
    with pytest.raises(ParameterError, match=r"models\.forest\.zzz is no argument of .*known are bootstrap, "):
        estimators.build("forest", FOREST, {"zzz": 7}, "classification", seed=3)


@pytest.mark.parametrize(("task", "kind"), [("classification", "classifier"), ("regression", "regressor")])
def test_a_model_that_is_not_for_the_task_says_so(task: str, kind: str) -> None:
    with pytest.raises(ParameterError, match=rf"the task is {task}, but models\.line has no {kind}"):
        estimators.build("line", None, {}, task, seed=3)  # type: ignore[arg-type]


def test_a_misspelt_argument_of_an_estimator_that_takes_others_is_named() -> None:
    with pytest.raises(ParameterError, match=r"models.boosting.num_leave is no argument .*did you mean num_leaves"):
        estimators.build("boosting", "lightgbm.LGBMClassifier", {"num_leave": 4}, "classification", 1)
    with pytest.raises(ParameterError, match=r"models.forest.verbos is no argument .*did you mean verbose"):
        estimators.build("forest", FOREST, {"verbos": 4}, "classification", 1)


def test_an_estimator_that_takes_others_is_given_them() -> None:
    others = {"verbose": -1, "deterministic": True, "force_row_wise": True, "max_bin": 63, "colsample_bynode": 0.5}

    built = estimators.build("boosting", "lightgbm.LGBMClassifier", others, "classification", 7, threads=2)

    assert others.items() <= built.get_params().items()
    assert (built.get_params()["random_state"], built.get_params()["n_jobs"]) == (7, 2)
