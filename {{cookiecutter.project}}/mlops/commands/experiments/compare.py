"""`compare`: rank models under the same folds, and test whether the best model is really better than the others."""

import math
import sys
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Annotated, Any

import typer

from mlops.base import console, pages, params
from mlops.base.errors import ParameterError, StoreError
from mlops.commands.options import AsJson
from mlops.history import paths, revisions
from mlops.history.revisions import Revision

WIDTH = 250  # characters of a line in a file
SIMPLEST = "(a linear model before trees, few or shallow trees before many or deep ones)"
COMPARED = ("best − it (folds)", "p (folds)", "best − it (test rows)", "p (test rows)")


@dataclass
class ComparedModel:
    """One model: its metric in each fold (k,) and on the test split, and its comparison with the best model.

    A model whose metric is not defined in some fold is not compared: it has no mean.

    `fold_setup` is the same for models with the same folds: the MD5 of the training split, the number of folds, the
    seed and the task. `difference` is the best mean minus this mean, `difference_rows` the same on the test rows that
    both share; the p-values are two-sided and not adjusted. `threshold` is that of two classes. What is unknown is
    None.
    """

    revision: Revision
    model: str
    fold_setup: tuple[Any, ...]
    folds: list[float | None]
    test: float | None
    threshold: float | None = None
    difference: float | None = None
    p_folds: float | None = None
    difference_rows: float | None = None
    p_rows: float | None = None
    rows_test: str | None = None
    verdict: str = ""

    @property
    def scores(self) -> list[float]:
        """The metric in each fold (k,); empty if it is not defined in some fold."""
        scores = [score for score in self.folds if score is not None]
        return scores if len(scores) == len(self.folds) else []

    @property
    def mean(self) -> float | None:
        """The mean over the folds."""
        return fmean(self.scores) if self.scores else None

    @property
    def std(self) -> float | None:
        """The standard deviation over the folds (of the sample, n − 1)."""
        return stdev(self.scores) if self.scores else None

    @property
    def score(self) -> str:
        """Mean and standard deviation as text."""
        return f"{self.mean:.4f} ± {self.std:.4f}" if self.scores else "–"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        facts = {name: value for name, value in vars(self).items() if name not in ("revision", "fold_setup")}
        return {"name": self.revision.name, **facts, "mean": self.mean, "std": self.std}


def compare(
    experiments: Annotated[list[str] | None, typer.Argument(help="Experiments, commits or branches.")] = None,
    metric: Annotated[str, typer.Option(help="Cross-validated metric; auto: the headline.")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Rank models, and test which the best is really better than.

    The models are compared under the same folds and on the same test rows. Without names, they are HEAD and the
    experiments that started there.

    Raises:
        ParameterError: there are fewer than two models, or no model has the metric.
        StoreError: a name is unknown, or a revision has no result.
    """
    from mlops.training import metrics
    from project.metrics import METRICS

    metrics.declare(METRICS)
    chosen = [revisions.find(name) for name in experiments or []] or [revisions.find("HEAD"), *revisions.experiments()]
    if len(chosen) < 2:
        raise ParameterError(
            f"there is nothing to compare {chosen[0].short} with: name experiments or commits, or run one "
            "(`dvc exp run -S train.model=logistic_regression`)"
        )
    metric = chosen[0].headline if metric == "auto" else metric
    read = [_read(revision, metric) for revision in chosen]
    models, without = ([model for model in read if bool(model.scores) is has] for has in (True, False))
    if not models:
        known = ", ".join(chosen[0].json(paths.TRAINING)["cross_validated"])
        raise ParameterError(f"no model has {metric} in every fold; {chosen[0].short} has {known}: choose one of them")
    models.sort(key=lambda model: fmean(model.scores), reverse=metrics.HIGHER_IS_BETTER[metric])
    setups = [model.fold_setup for model in models]
    most_common = max(setups, key=setups.count)
    ranked = [model for model in models if model.fold_setup == most_common]
    others = [model for model in models if model.fold_setup != most_common]
    _test(ranked, metric, params.load(params.Evaluate))
    for model in others:
        model.verdict = "other folds"
    for model in without:
        model.verdict = f"no {metric}"
    others += without
    conclusion = _conclusion(ranked, others, metrics.title(metric))
    if as_json:
        facts = {
            "metric": metric,
            "conclusion": conclusion,
            "models": [model.as_dict() for model in (*ranked, *others)],
        }
        console.print_json(facts)
    else:
        _print([*ranked, *others], metrics.title(metric))
        typer.echo(conclusion)


def _read(revision: Revision, metric: str) -> ComparedModel:
    """Read the fold scores of one model; its test metric is shown, but does not rank."""
    training, settings = revision.json(paths.TRAINING), revision.yaml(params.FILE).get("train", {})
    folds = [fold.get(metric) for fold in training["folds"]]
    setup = (revision.digests.get(paths.TRAIN.as_posix()), len(folds), settings.get("seed"), training["task"])
    threshold = (training.get("decision") or {}).get("threshold")
    test = revision.json(paths.METRICS).get(metric)
    return ComparedModel(revision, training["model"], setup, folds, test, threshold)


def _test(ranked: list[ComparedModel], metric: str, settings: params.Evaluate) -> None:
    """Test the best model against each of the others, and set the verdicts."""
    from mlops.evaluation import comparison
    from mlops.training.metrics import HIGHER_IS_BETTER

    best, *rivals = ranked
    best.verdict = "best"
    for rival in rivals:
        rival.difference = fmean(best.scores) - fmean(rival.scores)
        differences = [first - second for first, second in zip(best.scores, rival.scores, strict=True)]
        rival.p_folds = comparison.corrected_resampled_t(differences)
        _test_rows(rival, best.revision, metric, settings)
    p_values = [p for rival in rivals for p in (rival.p_folds, rival.p_rows)]
    adjusted = comparison.holm([math.nan if p is None else p for p in p_values])
    level = 1 - settings.confidence
    for rival, p_folds, p_rows in zip(rivals, adjusted[::2], adjusted[1::2], strict=True):
        favours_best = ((rival.difference_rows or 0) > 0) == HIGHER_IS_BETTER[metric]
        worse = favours_best if p_rows < level else p_folds < level  # an unknown p-value is NaN
        rival.verdict = "worse" if worse else "not distinguishable"


def _test_rows(rival: ComparedModel, best: Revision, metric: str, settings: params.Evaluate) -> None:
    """Test a rival against the best model on the test rows that both share, if there are any."""
    from mlops.evaluation import comparison

    try:
        _, sides = revisions.paired_predictions(rival.revision, best)
    except StoreError:
        return
    for difference in comparison.paired_bootstrap(*sides, settings.resamples, settings.confidence, settings.seed):
        if difference.metric == metric:
            facts = difference.as_dict()
            rival.difference_rows, rival.p_rows, rival.rows_test = (
                facts["difference"],
                facts["p_value"],
                "paired bootstrap",
            )
            if metric == "accuracy":
                rival.p_rows, rival.rows_test = comparison.mcnemar(*sides), "McNemar"


def _conclusion(ranked: list[ComparedModel], others: list[ComparedModel], title: str) -> str:
    def names(verdict: str) -> str:
        return ", ".join(model.revision.name for model in (*ranked, *others) if model.verdict == verdict)

    best = ranked[0]
    sentence = f"{best.revision.name} ({best.model}) has the best {title}: {best.score} over {len(best.folds)} folds."
    if worse := names("worse"):
        sentence += f" Really better than {worse}."
    if alike := names("not distinguishable"):
        sentence += f" Not distinguishable from {alike}: take the simplest of them {SIMPLEST}."
    if elsewhere := names("other folds"):
        sentence += (
            f" Not under the same folds, and so not compared: {elsewhere} (their training split, train.folds, "
            "train.seed or task differ)."
        )
    if lacking := ", ".join(model.revision.name for model in others if not model.scores):
        sentence += f" Not defined in every fold, and so not compared: {lacking}."
    return sentence


def _print(models: list[ComparedModel], title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    def number(value: float | None, form: str) -> str:
        return "–" if value is None else format(value, form)

    table = Table(box=None, pad_edge=False)
    for name in ("experiment", "model", "threshold", title, *COMPARED, "test", "verdict"):
        table.add_column(name, justify="left" if name in ("experiment", "model", "verdict") else "right")
    for model in models:
        table.add_row(
            model.revision.name,
            model.model,
            number(model.threshold, ".3g"),
            model.score,
            number(model.difference, "+.4f"),
            pages.p_value(model.p_folds),
            number(model.difference_rows, "+.4f"),
            pages.p_value(model.p_rows),
            number(model.test, ".4f"),
            model.verdict,
        )
    Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else WIDTH).print(table)
