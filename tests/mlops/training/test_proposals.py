"""Which trial comes next: the same one for the same past, inside the space, of one model at a time."""

from types import SimpleNamespace
from typing import Any

import pytest
from mlops.training import proposals
from mlops.training.proposals import Tried, belongs

SPACE: dict[str, Any] = {
    "models.forest.depth": SimpleNamespace(low=3, high=20, log=False, whole=True),
    "models.forest.features": ["sqrt", None, 0.5],
    "models.ridge.alpha": SimpleNamespace(low=0.01, high=100.0, log=True, whole=False),
    "train.model": ["forest", "ridge"],
    "train.folds": [3, 5],
}
BOTH = pytest.mark.parametrize("sampler", ["random", "tpe"])


def proposed(number: int, tried: list[Tried], sampler: Any, seed: int = 1, maximize: bool = True) -> dict[str, Any]:
    return proposals.propose(SPACE, "forest", tried, sampler, maximize=maximize, seed=seed, number=number)


def scored(parameters: dict[str, Any]) -> Tried:
    """As good as alpha is near 10, and no forest is any good."""
    alpha = parameters.get("models.ridge.alpha")
    return Tried(parameters, 0.0 if alpha is None else 1 - abs(alpha - 10) / 100)


def swept(sampler: Any, count: int, maximize: bool = True) -> list[Tried]:
    tried: list[Tried] = []
    for number in range(count):
        tried.append(scored(proposed(number, tried, sampler, maximize=maximize)))
    return tried


@BOTH
def test_a_sweep_that_was_cut_off_goes_on_with_the_trials_it_would_have_had(sampler: Any) -> None:
    whole = swept(sampler, 20)

    for number in (5, 12, 19):
        assert proposed(number, whole[:number], sampler) == whole[number].parameters


def test_a_random_trial_does_not_depend_on_what_was_tried() -> None:
    assert proposed(7, swept("random", 7), "random") == proposed(7, [], "random")
    assert proposed(7, [], "random", seed=2) != proposed(7, [], "random", seed=1)


@BOTH
def test_a_trial_lies_inside_the_space_and_has_the_arguments_of_its_own_model_only(sampler: Any) -> None:
    seen = [one.parameters for one in swept(sampler, 25)]

    for parameters in seen:
        model = parameters["train.model"]
        assert parameters.keys() == {name for name in SPACE if belongs(name, model)}
        assert 3 <= parameters.get("models.forest.depth", 3) <= 20
        assert isinstance(parameters.get("models.forest.depth", 3), int)
        assert 0.01 <= parameters.get("models.ridge.alpha", 1.0) <= 100
    assert {parameters["train.model"] for parameters in seen} == {"forest", "ridge"}


def test_trials_that_learn_find_the_better_model() -> None:
    models = [one.parameters["train.model"] for one in swept("tpe", 40)]

    assert models[20:].count("ridge") > 15
    assert [one.parameters["train.model"] for one in swept("tpe", 40, maximize=False)][20:].count("forest") > 10


def test_trials_that_run_side_by_side_differ() -> None:
    tried = swept("tpe", 15)
    first = proposed(15, tried, "tpe")

    second = proposed(16, [*tried, Tried(first, None)], "tpe")

    assert second != first


def test_without_a_choice_of_models_the_one_of_the_parameters_is_varied() -> None:
    space = {name: dimension for name, dimension in SPACE.items() if name != "train.model"}

    found = proposals.propose(space, "ridge", [], "random", maximize=True, seed=1, number=0)

    assert found.keys() == {"models.ridge.alpha", "train.folds"}
