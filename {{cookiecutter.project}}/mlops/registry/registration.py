"""The work of the stage `register`: the gate's verdict, the facts of the model card, and what MLflow is to record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mlops.base import environment, params
from mlops.data import profile
from mlops.data.schema import Schema
from mlops.evaluation import baseline, gate, recomputation, results
from mlops.evaluation import card as cards
from mlops.history import provenance, revisions
from mlops.intake import tables
from mlops.registry import champion
from mlops.registry.recording import Recorded, Result
from mlops.training import encoding

Rows = Sequence[Mapping[Any, Any]]


@dataclass(frozen=True)
class Judgement:
    """The gate on one result.

    `verdict` depends on the result alone, and stands in its report. `rules` are all that were judged, the rules about
    production among them, which depend on the day; `registers` says whether a version may be made today.
    """

    verdict: dict[str, Any]
    rules: list[gate.RuleResult]
    registers: bool


def judge(
    reports: Mapping[str, Any],
    groups: Rows,
    predictions: Path,
    evaluation: Path,
    target: profile.Distribution,
    settings: params.Register,
    judging: params.Evaluate,
    tracking: params.Tracking,
) -> Judgement:
    """Judge a result by its reports (by name), its metrics per group, and where it would register by the champion.

    `target` is the distribution of the target in the training split. What the gate compares with is computed from the
    predictions, so that no report can make it worse than it is.

    Raises:
        DataError: a report says something else than the predictions.
        ParameterError: a rule asks for a metric that there is not.
        StoreError: the registry cannot be reached, or the champion cannot be compared with.
    """
    table, found = tables.read(predictions), reports["evaluation"]
    computed = results.from_frame(table, found["labels"], found["positive"])
    gaps, slices = reports["fairness"]["gaps"], pd.DataFrame(groups)
    recomputation.check(table, computed, reports["metrics"], reports["baseline"], slices, gaps, target, judging)
    headline = baseline.headline(computed, target, judging.metric).metric
    evidence = gate.evidence(reports, groups, baseline.skill(computed, judging), judging.smallest_group)
    rules = gate.judge(evidence, headline, gate.model_rules(settings.rules))
    verdict = gate.verdict(settings.name, rules)
    candidate = verdict["passed"] and settings.mode == "enforce" and provenance.experiment() is None
    if candidate and (about_production := gate.champion_rules(settings.rules)):
        gain = champion.gain(predictions, evaluation, settings.name, tracking.uri, judging)
        rules += gate.judge(evidence.with_gain(gain), headline, about_production)
    return Judgement(verdict, rules, candidate and gate.passed(rules))


def gate_lines(judgement: Judgement, settings: params.Register) -> str:
    """The result of each rule, for a person, a line each; and where an absolute minimum is set, if none is."""
    lines = [f"gate {'passed' if rule.passed else 'FAILED'}  {rule.sentence()}" for rule in judgement.rules]
    if not any(rule.measure == "test" for rule in settings.rules.values()):
        lines.append(f"no absolute minimum is set: {params.FILE}, register.gate.minimum")
    return "\n".join(lines)


def card_facts(
    reports: Mapping[str, Any],
    groups: Rows,
    importances: Rows,
    judgement: Judgement,
    digests: Mapping[str, str],
    schema: Schema,
    settings: params.Register,
    judging: params.Evaluate,
) -> dict[str, Any]:
    """What the model card says of a result, as plain values."""
    rules = {"mode": settings.mode, "not_here": list(gate.champion_rules(settings.rules))}
    packages = environment.locked(_packages(reports))
    facts = cards.facts(reports, groups, importances, schema, judging.smallest_group, judging.confidence)
    return {**facts, **judgement.verdict, **rules, "digests": digests, "packages": packages}


def result(
    reports: Mapping[str, Any],
    judgement: Judgement,
    said: Mapping[str, Any],
    model: Path,
    card: Path,
    schema: Schema,
    reference: profile.Profile,
    artifacts: Sequence[Path],
) -> Result:
    """What MLflow records of a result: its `model` file, its `artifacts`, and what the card says of it (`card_facts`).

    `reference` is the profile of the training split.
    """
    trained, dataset = reports["training"], reports["dataset"]
    arguments = {name: value for name, value in trained["arguments"].items() if value not in cards.MARKS}
    # More than one commit may have brought it, such as one that was rebased. A shallow clone does not know.
    commits = (
        [] if revisions.is_shallow() else revisions.commits_of(said["digests"], passed=judgement.verdict["passed"])
    )
    return Result(
        name=judgement.verdict["name"],
        digests=said["digests"],
        params={**params.effective(), "estimator": arguments},
        metrics=results.logged(reports["metrics"], trained["cross_validated"]),
        tags={
            "model_type": trained["model"],
            "framework": _framework(trained["estimator"]),
            **provenance.tags(),
            **_loop_tags(said.get("retrained")),
        },
        model=model,
        requirements=environment.pinned(environment.answers_with() | _packages(reports) - environment.COMPUTED_WITH),
        artifacts=artifacts,
        data={"rows": dataset["rows"], "columns": dataset["columns"], "digest": dataset["digest"]},
        commit=commits[0].digest if commits else "",
        author=", ".join(dict.fromkeys(commit.author for commit in commits)),
        verdict="; ".join(rule.sentence() for rule in judgement.rules),
        description=f"{said['summary']}. The model card is `{card}` of the run.",
        example=encoding.typical(reference, schema, (dataset["period"] or {}).get("last")),
    )


def sentence(recorded: Recorded, result: Result, judgement: Judgement, mode: str) -> str:
    """What was recorded, for a person: the run, the data, and the version or why there is none."""
    version = recorded.version or f"none: {gate.why_no_version(judgement.rules, mode)}"
    if recorded.version and not result.commit:
        version += ", in no commit yet: once it is, it can be approved"
    run = f"{'new' if recorded.new else 'known'} run {recorded.run_id}"
    return f"{run}, data {result.digests['data'][:12]}, version {version}"


def _loop_tags(retrained: params.Retrained | None) -> dict[str, str]:
    """The tags of a model that `retrain` made, whoever records it; none for any other model or in an experiment."""
    if retrained is None or provenance.experiment():
        return {}
    return {"training_type": "automatic", "trigger": retrained.trigger, "reasons": "; ".join(retrained.reasons)}


def _framework(estimator: str) -> str:
    """The package behind the import path of an estimator; a class of the project's own is one of scikit-learn's API."""
    return next(iter(sorted(environment.packages_behind(estimator))), "scikit-learn")


def _packages(reports: Mapping[str, Any]) -> frozenset[str]:
    return environment.COMPUTED_WITH | environment.packages_behind(reports["training"]["estimator"])
