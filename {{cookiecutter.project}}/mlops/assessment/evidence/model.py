"""What shows how models are developed."""

import re
from collections.abc import Mapping
from typing import Any

from mlops.assessment.evidence import tools
from mlops.assessment.evidence.answers import Answer, inapplicable, no, unknown, yes
from mlops.assessment.evidence.code import NOTHING, Use
from mlops.assessment.evidence.data import rows_of, tests_run
from mlops.assessment.evidence.facts import Facts, Own
from mlops.assessment.finding import Source
from mlops.base.errors import StoreError

SUBJECTS = {
    "data": re.compile(r"data|schema|ingest|feature|clean", re.I),
    "model": re.compile(r"model|train|predict|estimator|score", re.I),
    "infrastructure": re.compile(r"pipeline|api|serv|app|infra|deploy|integration|stage|flow|e2e|end_to_end", re.I),
}
REVIEWED = re.compile(r"\(#\d+\)$|^Merge pull request |^Merge branch .* into |See merge request ")
LOOKED_AT, ENOUGH = 20, 3  # commits: so many at most, and no judgement on fewer
LONGEST_LINE = 500
CLOSE = 0.1  # two metrics on data of different times, in points
CHECKS_OVER_TIME = 3
GTO_TAG = re.compile(r"^[\w/.-]+(?:@v?\d|#\w+)")


def tracker(facts: Facts) -> Answer:
    """Experiments are tracked by a tool that is called where models are trained."""
    if own := facts.own:
        if own.versions:
            return yes("own", version_source(own), automatic=True, name=own.name)
        name = "reports/registration.json"
        return own.outdated(name) or yes("own_stage", own.report_source(name), automatic=True)
    if used := facts.used("tracker"):
        return yes("tool", facts.use_source(used[0]), tool=used[0].tool)
    return facts.unused("tracker")


def results_are_recorded(facts: Facts) -> Answer:
    """Parameters and metrics of a training are recorded by the program, not by a person."""
    if own := facts.own:
        for name in ("reports/metrics.json", "reports/training.json"):
            if outdated := own.outdated(name):
                return outdated
        return yes("dvc", own.report_source("reports/metrics.json"), automatic=True)
    half: Answer | None = None
    for root, (parameters, metrics) in tools.RECORDS.items():
        calls = [use for use in facts.used("record") if use.root == root]
        first = _called(calls, parameters)
        second = _called(calls, metrics)
        if first and second:
            return yes("tool", facts.use_source(first), facts.use_source(second), tool=first.tool)
        if one := first or second:
            half = facts.absent("half_parameters" if second else "half_metrics", facts.use_source(one), tool=one.tool)
    if metrics_of := [stage for stage in facts.pipelines.stages if stage.content.get("metrics")]:
        stage = metrics_of[0]
        source = facts.repository.source(stage.path, stage.line)
        if (stage.folder, stage.name) in facts.pipelines.stale:
            return no("stale", source, reason=facts.pipelines.stale[stage.folder, stage.name])
        if (stage.folder, stage.name) in facts.pipelines.locked:
            return yes("dvc", source)
    return half or facts.unused("record")


def registry(facts: Facts) -> Answer:
    """Versions of models are kept in a registry."""
    if own := facts.own:
        report = "reports/registration.json"
        if own.versions:
            return yes("own", version_source(own), name=own.name, count=len(own.versions), automatic=True)
        if outdated := own.outdated(report):
            return outdated
        if failed := failed_rules(own):
            return no("gate_failed", own.report_source(report), rules=failed)
        if own.versions is None and own.param("register.mode") != "dry_run":
            return yes("own_passed", own.report_source(report), automatic=True)
        return no("own_none", own.report_source(report), name=own.name)
    if used := facts.used("registry"):
        return yes("tool", facts.use_source(used[0]), tool=used[0].tool)
    for path in facts.repository.ending(".yml", ".yaml"):
        if line := line_of(facts, path, re.compile(r"^\s*registered_models:\s*$")):
            return yes("tool", facts.repository.source(path, line), tool="Databricks")
    return facts.unused("registry")


def training_is_in_ci(facts: Facts) -> Answer:
    """A change of code runs the training pipeline."""
    found = [(job, step) for job, step in facts.workflows.doing("pipeline", "retrain") if job.on_change]
    return facts.judged(found) if found else facts.nothing("none")


def tests_of_everything(facts: Facts) -> Answer:
    """Data, model and infrastructure have tests, and a change of code runs them."""
    behaviour: tuple[Source, ...] = ()
    if own := facts.own:
        name = "reports/behaviour.json"
        if outdated := own.outdated(name):
            return outdated
        report = own.report(name)
        if failed := report.get("failed"):
            return no("behaviour_failed", own.report_source(name), count=failed)
        if not report.get("passed"):
            return no("behaviour_empty", own.report_source(name))
        behaviour = (own.report_source(name),)
    tests = facts.code.tests
    missing = [subject for subject, pattern in SUBJECTS.items() if not any(map(pattern.search, tests))]
    if not tests:
        return facts.absent("none")
    if missing:
        return facts.absent("missing", facts.repository.source(tests[0]), subjects=", ".join(missing))
    found = [(job, step) for job, step in facts.workflows.doing("test") if job.on_change]
    if not found:
        return facts.nothing("unrun")
    answer = facts.judged(found)
    if answer.outcome == "true":
        return yes("all", *behaviour, *answer.sources, automatic=True, count=len(tests))
    return answer


def search(facts: Facts) -> Answer:
    """A program looks for hyperparameters."""
    if own := facts.own:
        name = "reports/search.csv"
        rows = rows_of(facts, own.at(name))
        if len(rows) > 1:
            source = own.report_source(name)
            return own.outdated("reports/training.json") or yes(
                "own", source, automatic=facts.runs_pipeline, count=len(rows)
            )
        trials = own.param("retrain.search_trials", 0)
        if isinstance(trials, int) and trials > 0 and (recent := facts.recent(facts.retrained)):
            return yes("own_loop", *recent, automatic=True, count=trials)
        return no("own_off", own.param_source("train.search.candidates"))
    if used := facts.used("search"):
        return yes("tool", facts.use_source(used[0]), automatic=facts.is_automatic(used[0]), tool=used[0].tool)
    return facts.unused("search")


def notebooks(facts: Facts) -> Answer:
    """Models are trained in notebooks, and in no script."""
    if facts.own and facts.pipelines.locked:
        [path, *_] = facts.pipelines.locks
        return no("pipeline", facts.repository.source(path))
    used = facts.uses("fit")
    scripts = [use for use in used if not use.path.endswith(".ipynb")]
    books = [use for use in used if use.path.endswith(".ipynb")]
    if scripts and (not books or any(facts.code.rank(use.path) < NOTHING for use in scripts)):
        return no("scripts", facts.use_source(scripts[0]), path=scripts[0].path)
    if books:
        return yes("notebooks", facts.use_source(books[0]), count=len({use.path for use in books}))
    return unknown("no_training")


def specifications_are_reviewed(facts: Facts) -> Answer:
    """What a model is made of is reviewed before it counts."""
    if facts.own and (approvals := facts.own.audited("approve")):
        entry = approvals[0]
        return yes("approved", facts.own.audit_source(entry), who=str(entry.get("who")))
    try:
        shown = ("--first-parent", f"--max-count={LOOKED_AT}", "--format=%H%x09%ct%x09%s%x09%b%x00")
        log = facts.repository.git("log", *shown, facts.repository.commit)
    except StoreError:
        return unknown("unknown")
    commits = [entry.strip("\n").split("\t", 3) for entry in log.split("\0") if entry.strip()]
    if len(commits) < ENOUGH:
        return unknown("young", count=len(commits))
    reviewed = [one for one in commits if REVIEWED.search(one[2]) or REVIEWED.search(one[3] if len(one) > 3 else "")]
    sources = [Source("commit", one[0], None, facts.repository.days(float(one[1]))) for one in reviewed]
    case = yes if len(reviewed) * 2 >= len(commits) else no
    return case("reviewed", *sources, count=len(reviewed), all=len(commits))


def offline_and_online_agree(facts: Facts) -> Answer:
    """The metric on the test split and that on what came later are compared, and are close."""
    own = facts.own
    if own is None:
        return unknown("people")
    for name in ("reports/drift.json", "reports/metrics.json", "reports/evaluation.json"):
        if outdated := own.outdated(name):
            return outdated
    headline = str(own.report("reports/evaluation.json").get("headline"))
    offline = own.report("reports/metrics.json").get(headline)
    online = _mapping(_mapping(own.report("reports/drift.json").get("predictions")).get("metrics")).get(headline)
    source = own.report_source("reports/drift.json")
    if not isinstance(online, int | float) or not isinstance(offline, int | float):
        return no("unlabelled", source)
    close = abs(online - offline) <= CLOSE * (1 if abs(offline) <= 1 else abs(offline))
    values = {"metric": headline, "offline": f"{offline:.4g}", "online": f"{online:.4g}"}
    automatic = facts.runs_pipeline
    return yes("agree", source, automatic=automatic, **values) if close else no("differ", source, **values)


def staleness_is_known(facts: Facts) -> Answer:
    """It is known how fast a model that is not trained again loses quality."""
    own = facts.own
    if own is None:
        return unknown("people")
    checks = facts.history(own.at("reports/drift.json"))
    if facts.repository.is_shallow:
        return unknown("shallow")
    if len(checks) < CHECKS_OVER_TIME:
        return no("few", own.report_source("reports/drift.json"), count=len(checks))
    sources = [Source("commit", commit, None, facts.repository.days(seconds)) for commit, seconds in checks]
    return yes("history", *sources, count=len(checks))


def simpler_is_not_better(facts: Facts) -> Answer:
    """The model is compared with a simpler one."""
    if own := facts.own:
        return _rule(facts, own, rules_of(own, "skill") or ("skill",), "none")
    if used := facts.used("baseline"):
        return yes("tool", facts.use_source(used[0]), automatic=facts.is_automatic(used[0]), tool=used[0].tool)
    return facts.unused("baseline")


def _compares_groups(facts: Facts) -> Answer:
    """A tool compares groups."""
    if used := facts.used("fairness"):
        return yes("tool", facts.use_source(used[0]), automatic=facts.is_automatic(used[0]), tool=used[0].tool)
    return facts.unused("fairness")


def slices(facts: Facts) -> Answer:
    """Quality is sufficient on each group that matters."""
    own = facts.own
    if own is None:
        return _compares_groups(facts)
    if outdated := own.outdated("reports/evaluation.json"):
        return outdated
    name = "reports/slices.csv"
    if not (rows := rows_of(facts, own.at(name))):
        return inapplicable("no_groups", own.report_source(name))
    rules = rules_of(own, "worst_group")
    return _rule(facts, own, rules, "none") if rules else yes("unjudged", own.report_source(name), count=len(rows))


def inclusion(facts: Facts) -> Answer:
    """The model treats groups of people alike."""
    own = facts.own
    if own is None:
        return _compares_groups(facts)
    name = "reports/fairness.json"
    if outdated := own.outdated(name):
        return outdated
    if all(gap is None for gap in _mapping(own.report(name).get("gaps")).values()):
        return inapplicable("no_groups", own.report_source(name))
    rules = rules_of(own, "fairness")
    return _rule(facts, own, rules, "none") if rules else yes("unjudged", own.report_source(name))


def model_code_is_tested(facts: Facts) -> Answer:
    """The code of the model has unit tests, and a workflow runs them."""
    tests = [path for path in facts.code.tests if SUBJECTS["model"].search(path)]
    return tests_run(facts, tests) if tests else facts.absent("none")


def failed_rules(own: Own) -> str:
    """The names of the rules of the gate that failed; "" if all hold."""
    rules = own.report("reports/registration.json").get("rules")
    found = [_mapping(rule) for rule in rules] if isinstance(rules, list) else []
    return ", ".join(str(rule.get("rule")) for rule in found if rule.get("passed") is not True)


def rules_of(own: Own, measure: str) -> tuple[str, ...]:
    """The names of the rules of the gate that are about a measure."""
    gate = _mapping(own.param("register.gate"))
    return tuple(str(rule) for rule, one in gate.items() if _mapping(one).get("measure") == measure)


def version_source(own: Own) -> Source:
    """The newest version in the registry."""
    [newest, *_] = own.versions or []
    return Source("version", f"{newest.number} of {own.name}", None, own.repository.days(newest.created))


def line_of(facts: Facts, path: str, pattern: re.Pattern[str]) -> int | None:
    """The first line of a file that fits, by its beginning."""
    lines = enumerate((facts.repository.text(path) or "").splitlines(), 1)
    return next((at for at, line in lines if pattern.search(line[:LONGEST_LINE])), None)


def _rule(facts: Facts, own: Own, names: tuple[str, ...], without: str) -> Answer:
    """What the gate said by one of its rules, which are named or measure so."""
    report = "reports/registration.json"
    if outdated := own.outdated(report):
        return outdated
    rules = own.report(report).get("rules")
    found = [_mapping(rule) for rule in rules] if isinstance(rules, list) else []
    for rule in found:
        if rule.get("rule") in names:
            values = {"rule": str(rule.get("rule")), "measured": str(rule.get("measured")), "limit": rule.get("limit")}
            values |= {"comparison": str(rule.get("comparison")), "actual": _short(rule.get("actual"))}
            source = own.report_source(report)
            automatic = facts.runs_pipeline
            return (
                yes("rule", source, automatic=automatic, **values)
                if rule.get("passed")
                else no("rule", source, **values)
            )
    return no(without, own.param_source("register.gate"))


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)


def _called(uses: list[Use], names: frozenset[str]) -> Use | None:
    return next((use for use in uses if use.call.rpartition(".")[2] in names), None)


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, dict) else {}


PREDICATES = {
    notebooks: ("0.model.notebooks",),
    tracker: ("1.model.tracker",),
    results_are_recorded: ("1.model.recorded",),
    registry: ("1.model.registry",),
    training_is_in_ci: ("2.model.ci",),
    tests_of_everything: ("2.model.tests",),
    search: ("2.model.search", "model.3"),
    specifications_are_reviewed: ("model.1",),
    offline_and_online_agree: ("model.2",),
    staleness_is_known: ("model.4",),
    simpler_is_not_better: ("model.5",),
    slices: ("model.6",),
    inclusion: ("model.7",),
    model_code_is_tested: ("infrastructure.2",),
}
OPPOSITES = {
    "results_are_written_by_hand": (results_are_recorded, "0.model.results_by_hand"),
    "parameters_by_trial_and_error": (search, "0.model.trial_and_error"),
}
