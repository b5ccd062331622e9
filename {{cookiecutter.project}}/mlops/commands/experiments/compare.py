"""`compare`: models under the same folds, and whether the best of them is really better or only came out so."""

import math
import sys
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Annotated, Any

import typer

from mlops.base import console, params
from mlops.base.errors import ParameterError, StoreError
from mlops.commands.options import AsJson
from mlops.history import paths, revisions
from mlops.history.revisions import Revision

PIPE = 250  # columns of text, for whoever reads it in a file


@dataclass
class Candidate:
    """One model: its metric in each fold (k,) and on the test split, and how it stands to the best of them.

    `difference` is the best mean less this one; the p-values (two-sided, before adjustment) are of the folds and of the
    test rows that both were judged on. Its `folds` are the same as another's if `cut` is.
    """

    name: str
    model: str
    cut: tuple[Any, ...]
    folds: list[float]
    test: float | None
    difference: float | None = None
    p_folds: float | None = None
    p_rows: float | None = None
    rows_test: str | None = None
    verdict: str = ""

    @property
    def mean(self) -> float:
        """The mean over the folds."""
        return fmean(self.folds)

    @property
    def spread(self) -> float:
        """The standard deviation over the folds (of the sample, n − 1)."""
        return stdev(self.folds)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "mean": self.mean, "std": self.spread}


def compare(
    experiments: Annotated[list[str] | None, typer.Argument(help="Experiments, commits or branches.")] = None,
    metric: Annotated[str, typer.Option(help="Cross-validated; auto is the headline.")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Compare models under the same folds, and say whether the best is really better than the others.

    Without names, HEAD and the experiments that started there are compared.

    Raises:
        ParameterError: fewer than two models are there, or one has no such metric.
        StoreError: one of them is not to be found, or has no result.
    """
    from mlops.training.metrics import title

    chosen = [revisions.find(name) for name in experiments or []] or [revisions.find("HEAD"), *revisions.experiments()]
    if len(chosen) < 2:
        raise ParameterError(
            f"there is nothing to compare {chosen[0].short} with: name experiments or commits, or run one "
            "(`dvc exp run -S train.model=logistic_regression`)"
        )
    settings = params.load(params.Evaluate)
    name = _metric(chosen[0], metric)
    found = [_candidate(revision, name) for revision in chosen]
    comparable, others = _ranked(found, name)
    _test(comparable, chosen, found, name, settings)
    for candidate in others:
        candidate.verdict = "other folds"
    said = _conclusion(comparable, others, title(name))
    if as_json:
        facts = {"metric": name, "conclusion": said, "candidates": [one.as_dict() for one in (*comparable, *others)]}
        console.print_json(_defined(facts))
        return
    _print([*comparable, *others], title(name))
    typer.echo(said)


def _metric(first: Revision, asked: str) -> str:
    from mlops.training import task

    return task.headline(first.json(paths.TRAINING)["task"], asked)


def _candidate(revision: Revision, metric: str) -> Candidate:
    """Read one model's fold scores; its test metric is shown, and never decides which is the best."""
    trained = revision.json(paths.TRAINING)
    folds = [fold.get(metric) for fold in trained["folds"]]
    if any(value is None for value in folds):
        known = ", ".join(trained["cross_validated"])
        raise ParameterError(f"{revision.short} has no {metric} in every fold, but {known}: choose one with --metric")
    asked = revision.yaml(params.FILE)["train"]
    cut = (revision.digests.get(paths.TRAIN.as_posix()), asked["folds"], asked["seed"], trained["task"])
    return Candidate(revision.name, trained["model"], cut, folds, revision.json(paths.METRICS).get(metric))


def _ranked(found: list[Candidate], metric: str) -> tuple[list[Candidate], list[Candidate]]:
    """Those under the folds that most of them have, the best first; and the rest."""
    from mlops.training.metrics import HIGHER_IS_BETTER

    cuts = [candidate.cut for candidate in found]
    common = max(cuts, key=cuts.count)
    ranked = sorted(found, key=lambda one: one.mean, reverse=HIGHER_IS_BETTER[metric])
    return [one for one in ranked if one.cut == common], [one for one in ranked if one.cut != common]


def _test(
    ranked: list[Candidate], revs: list[Revision], found: list[Candidate], metric: str, settings: params.Evaluate
) -> None:
    """Test the best against each of the others, on the folds and on the test rows, and note the verdicts."""
    from mlops.evaluation import comparison

    best, *rivals = ranked
    best.verdict = "best"
    of = {id(candidate): revision for candidate, revision in zip(found, revs, strict=True)}
    signs = []
    for rival in rivals:
        rival.difference = best.mean - rival.mean
        rival.p_folds = comparison.corrected_resampled_t(
            [first - second for first, second in zip(best.folds, rival.folds, strict=True)]
        )
        rival.rows_test, rival.p_rows, agrees = _on_rows(of[id(rival)], of[id(best)], metric, settings)
        signs.append(agrees)
    adjusted = comparison.holm([p for rival in rivals for p in (rival.p_folds or 0.0, _number(rival.p_rows))])
    level = 1 - settings.confidence
    for rival, agrees, on_folds, on_rows in zip(rivals, signs, adjusted[::2], adjusted[1::2], strict=True):
        for_best = on_folds < level or (on_rows < level and agrees)
        against = on_rows < level and not agrees
        rival.verdict = "worse" if for_best and not against else "not distinguishable"


def _on_rows(
    rival: Revision, best: Revision, metric: str, settings: params.Evaluate
) -> tuple[str | None, float | None, bool]:
    """The test on the shared rows: its name, its p-value, and whether it speaks for the best; None without data."""
    from mlops.evaluation import comparison

    try:
        (kept, one), (kept_best, other) = rival.predictions(), best.predictions()
    except StoreError:
        return None, None, True
    pairs = comparison.shared_rows(kept["row"].to_numpy(), kept_best["row"].to_numpy())
    if not len(pairs.one) or one.classes != other.classes:
        return None, None, True
    sides = comparison.on_the_same_rows(one, other, pairs)
    drawn = comparison.paired_bootstrap(*sides, settings.resamples, settings.confidence, settings.seed)
    found = next((difference for difference in drawn if difference.metric == metric), None)
    if found is None:
        return None, None, True
    from mlops.training.metrics import HIGHER_IS_BETTER

    agrees = bool(found.difference > 0) == HIGHER_IS_BETTER[metric]
    if metric == "accuracy":
        return "McNemar", comparison.mcnemar(*sides), agrees
    return "paired bootstrap", found.p_value, agrees


def _conclusion(ranked: list[Candidate], others: list[Candidate], title: str) -> str:
    best, *rivals = ranked
    spread = f"{best.mean:.4f} ± {best.spread:.4f} over {len(best.folds)} folds"
    said = [f"{best.name} ({best.model}) has the best {title}: {spread}."]
    worse = [rival.name for rival in rivals if rival.verdict == "worse"]
    alike = [rival.name for rival in rivals if rival.verdict == "not distinguishable"]
    if worse:
        said.append(f"Really better than {', '.join(worse)}.")
    if alike:
        said.append(f"Not distinguishable from {', '.join(alike)}: take the simplest of them.")
    if others:
        said.append(
            f"Not under the same folds, and so not compared: {', '.join(one.name for one in others)} (their training "
            "split, train.folds, train.seed or task differ)."
        )
    return " ".join(said)


def _print(candidates: list[Candidate], title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("experiment", "model", title, "best − it", "p (folds)", "p (test rows)", "test", "verdict"):
        table.add_column(name, justify="left" if name in ("experiment", "model", "verdict") else "right")
    for one in candidates:
        cells = [
            _shown(one.difference, "+.4f"),
            _shown(one.p_folds, ".3f"),
            _shown(one.p_rows, ".3f"),
            _shown(one.test, ".4f"),
        ]
        table.add_row(one.name, one.model, f"{one.mean:.4f} ± {one.spread:.4f}", *cells, one.verdict)
    Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else PIPE).print(table)


def _shown(value: float | None, form: str) -> str:
    return "–" if value is None or math.isnan(value) else format(value, form)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _defined(content: Any) -> Any:
    """The same with null for what is not a number, which JSON does not have."""
    if isinstance(content, dict):
        return {name: _defined(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_defined(value) for value in content]
    return None if isinstance(content, float) and math.isnan(content) else content
