"""The next trial of a sweep: drawn at random, or by what the trials so far promise."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mlops.base.params import Range, Space

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution

Parameters = dict[str, Any]
MODEL = "train.model"
DIGITS = 4  # significant ones of a number that is drawn: who reads a parameter reads no more


@dataclass(frozen=True)
class Tried:
    """Parameters by dotted name, and their result; None while the trial runs."""

    parameters: Parameters
    value: float | None


def propose(
    space: Space,
    model: str,
    tried: Sequence[Tried],
    sampler: Literal["random", "tpe"],
    *,
    maximize: bool,
    seed: int,
    number: int,
) -> Parameters:
    """The parameters of trial `number`, without the arguments of models that it does not train.

    `model` is the one that is taken where the space has no `train.model`. At random, a trial depends on `seed` and
    `number` alone; by the tree-structured Parzen estimator (Bergstra et al. 2011, as Optuna has it) also on what was
    tried. Running trials count as bad (constant liar), so that parallel trials keep apart.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kinds: dict[str, optuna.samplers.BaseSampler] = {
        "random": optuna.samplers.RandomSampler(seed=seed + number),
        "tpe": optuna.samplers.TPESampler(seed=seed + number, constant_liar=True),
    }
    study = optuna.create_study(direction="maximize" if maximize else "minimize", sampler=kinds[sampler])
    for past in tried:
        _remember(study, past, space)
    trial = study.ask()
    ordered = sorted(space.items(), key=lambda item: item[0] != MODEL)  # the others depend on it
    chosen: Parameters = {}
    for name, dimension in ordered:
        if belongs(name, chosen.get(MODEL, model)):
            chosen[name] = _suggested(trial, name, dimension)
    return chosen


def belongs(name: str, model: str) -> bool:
    """Whether a parameter matters when `model` is trained."""
    section, _, rest = name.partition(".")
    return section != "models" or rest.partition(".")[0] == model


def _remember(study: "Study", past: Tried, space: Space) -> None:
    import optuna

    known = {name: value for name, value in past.parameters.items() if name in space}
    study.add_trial(
        optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING if past.value is None else optuna.trial.TrialState.COMPLETE,
            value=past.value,
            params=known,
            distributions={name: _distribution(space[name]) for name in known},
        )
    )


def _distribution(dimension: Range | Sequence[Any]) -> "BaseDistribution":
    from optuna import distributions

    if isinstance(dimension, Sequence):
        return distributions.CategoricalDistribution(dimension)
    if dimension.whole:
        return distributions.IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return distributions.FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def _suggested(trial: "Trial", name: str, dimension: Range | Sequence[Any]) -> Any:
    if isinstance(dimension, Sequence):
        return trial.suggest_categorical(name, dimension)
    if dimension.whole:
        return trial.suggest_int(name, int(dimension.low), int(dimension.high), log=dimension.log)
    drawn = trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)
    return min(max(float(f"{drawn:.{DIGITS}g}"), dimension.low), dimension.high)
