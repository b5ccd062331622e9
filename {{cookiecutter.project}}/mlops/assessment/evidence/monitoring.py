"""What shows how models are watched in production, and what follows from it."""

import re
from dataclasses import replace

from mlops.assessment.evidence.answers import OPPOSITE, Answer, no, unknown, yes
from mlops.assessment.evidence.data import tests_run
from mlops.assessment.evidence.deployment import training_pipeline
from mlops.assessment.evidence.facts import OUTDATED, Facts, Own
from mlops.assessment.evidence.model import SUBJECTS, line_of
from mlops.assessment.evidence.workflows import Job, Step
from mlops.assessment.finding import Source

DRIFT = "reports/drift.json"
TELLS = re.compile(
    r"slackapi/slack-github-action|hooks\.slack\.com|pagerduty|opsgenie|sns publish|dawidd6/action-send-mail|"
    r"^\s*alertmanagers?:|^\s*-?\s*alert:\s*\S+|^\s*(?:on_failure|email_notifications):"
)
ALERT_RULE = re.compile(r"^\s*-?\s*alert:\s*\S+")
DASHBOARD = re.compile(r'"(?:panels|schemaVersion)"\s*:')
UPDATES: tuple[str, ...] = (
    ".github/dependabot.yml",
    ".github/dependabot.yaml",
    "renovate.json",
    ".github/renovate.json",
    ".renovaterc",
)
UPDATES += ("renovate.json5", ".github/renovate.json5", ".gitlab/renovate.json", ".renovaterc.json")
AUDITS = re.compile(r"^(?:pip-audit|safety (?:check|scan)|uv audit|osv-scanner|trivy|grype)\b")
STABLE_KINDS = ("robustness",)
EQUAL_KINDS = ("serving",)


def performance(facts: Facts) -> Answer:
    """How good the model is in production is measured."""
    if own := facts.own:
        if outdated := _outdated(facts, own):
            return outdated
        report = own.report(DRIFT)
        source = own.report_source(DRIFT)
        predictions, estimated = report.get("predictions"), report.get("estimated")
        automatic = facts.runs_pipeline
        if isinstance(predictions, dict) and isinstance(predictions.get("metrics"), dict) and predictions["metrics"]:
            return yes("measured", source, automatic=automatic, count=predictions.get("count", 0))
        if isinstance(estimated, dict) and estimated.get("trusted"):
            return yes("estimated", source, automatic=automatic)
        return no("unlabelled", source)
    return _watched(facts, "performance")


def drift(facts: Facts) -> Answer:
    """Drift of the data is looked for."""
    if own := facts.own:
        if unwatched := _unwatched(facts, own):
            return unwatched
        automatic = facts.runs_pipeline
        return yes(
            "own", own.report_source(DRIFT), automatic=automatic, verdict=str(own.report(DRIFT).get("verdict", ""))
        )
    return _watched(facts, "drift")


def retraining_by_hand(facts: Facts) -> Answer:
    """A person can start a retraining when it is needed."""
    asked = [(job, step) for job, step in facts.workflows.doing("pipeline", "retrain") if job.on_request]
    pipeline = training_pipeline(facts)
    if asked:
        job, step = asked[0]
        return yes("request", facts.job_source(job, step), path=step.path, job=job.name)
    if pipeline.case == "dvc":
        return yes("command", *pipeline.sources)
    if pipeline.outcome == "true":
        return yes("pipeline", *pipeline.sources)
    fits = [use for use in facts.used("fit", by_hand=False) if not use.path.endswith(".ipynb")]
    if fits:
        return yes("program", facts.use_source(fits[0]), path=fits[0].path)
    return Answer(
        pipeline.outcome,
        "none" if pipeline.outcome == "false" else pipeline.case,
        pipeline.sources,
        values=pipeline.values,
    )


def observability(facts: Facts) -> Answer:
    """Data, model and server are watched together, and somebody is told."""
    if own := facts.own:
        if not _alerts(own):
            return no("own_off", own.param_source("alerts.channels"))
        if outdated := _outdated(facts, own):
            return outdated
        served = own.audited("route", "promote", "reject")
        if not served:
            return unknown("own_unseen", own.param_source("alerts.channels"))
        sources = (own.audit_source(served[0]), own.report_source(DRIFT), own.param_source("alerts.channels"))
        return yes("own", *sources, automatic=not own.audit_is_copy)
    repository = facts.repository
    metrics = [use for use in facts.used("performance") if use.root.startswith("prometheus")]
    rules = [(path, line) for path in repository.ending(".yml", ".yaml") if (line := line_of(facts, path, ALERT_RULE))]
    boards = [
        path
        for path in repository.ending(".json")
        if re.search(r"grafana|dashboard", path) and DASHBOARD.search(repository.text(path) or "")
    ]
    watched = facts.used("drift", by_hand=False)
    parts = {"metrics": metrics, "alert rules": rules, "dashboards": boards, "drift": watched}
    missing = [name for name, found in parts.items() if not found]
    if len(missing) == len(parts):
        return facts.absent("none")
    seen = [facts.use_source(use) for use in (metrics + watched)[:2]]
    seen += [repository.source(path, line) for path, line in rules[:1]]
    if missing:
        return facts.absent("partial", *seen, missing=", ".join(missing))
    return yes("all", *seen, *(repository.source(path) for path in boards[:1]))


def retraining_by_itself(facts: Facts) -> Answer:
    """A retraining starts by itself when monitoring says so."""
    found = [(job, step) for job, step in facts.workflows.doing("retrain", "pipeline") if job.on_schedule]
    found = [(job, step) for job, step in found if step.deed == "retrain" or facts.own is None]
    if facts.own and (recent := facts.recent(facts.retrained)):
        return yes("retrained", *recent, automatic=True, count=len(recent))
    return facts.judged(found) if found else facts.nothing("own" if facts.own else "none")


def response(facts: Facts) -> Answer:
    """What is found to be wrong is answered by a program."""
    if own := facts.own:
        rejected = [entry for entry in own.audited("reject") if entry.get("evidence")]
        if recent := [one for one in map(own.audit_source, rejected) if (one.age_days or 0) <= OUTDATED]:
            return yes("rolled_back", *recent, automatic=not own.audit_is_copy, count=len(recent))
        merges = own.param_source("retrain.auto_merge")
        if own.param("retrain.auto_merge") is True:
            if retrained := facts.recent(facts.retrained):
                return yes("retrained", *retrained, merges, automatic=True)
            return unknown("own_unseen", merges)
        return no("own_off", merges)
    found: list[tuple[Job, Step]] = [
        (job, step) for job in facts.workflows.jobs if "repository_dispatch" in job.triggers for step in job.steps[:1]
    ]
    return facts.judged(found) if found else facts.nothing("none")


def nothing_is_watched(facts: Facts) -> Answer:
    """Neither performance nor drift is watched."""
    both = [performance(facts), drift(facts)]
    for answer in both:
        if answer.outcome == "true":
            return no("watched", *answer.sources)
    if all(answer.outcome == "false" for answer in both):
        return yes("unwatched", *(source for answer in both for source in answer.sources))
    return unknown("unknown")


def nobody_is_told(facts: Facts) -> Answer:
    """No alert tells anybody of a fault."""
    if own := facts.own:
        return (no if _alerts(own) else yes)(
            "own_told" if _alerts(own) else "own_log", own.param_source("alerts.channels")
        )
    repository = facts.repository
    for path in repository.ending(".yml", ".yaml"):
        if line := line_of(facts, path, TELLS):
            return no("told", repository.source(path, line), path=path)
    if used := facts.used("alert"):
        return no("told", facts.use_source(used[0]), path=used[0].path)
    if facts.uses("alert"):
        unrun = facts.unused("alert")
        return replace(unrun, outcome=OPPOSITE.get(unrun.outcome, unrun.outcome))
    return unknown("too_large") if repository.truncated else yes("nobody")


def dependencies_notify(facts: Facts) -> Answer:
    """A change of what the model depends on is told."""
    repository = facts.repository
    for path in UPDATES:
        if path in repository.files:
            if not repository.remote:
                return unknown("unpushed", repository.source(path), path=path)
            return yes("updates", repository.source(path), automatic=True, path=path)
    audits = [(job, step) for job in facts.workflows.jobs for step in job.steps if AUDITS.match(step.command.text)]
    scheduled = [(job, step) for job, step in audits if job.on_schedule]
    return facts.judged(scheduled) if scheduled else facts.nothing("none")


def invariants_hold(facts: Facts) -> Answer:
    """What must hold of the input is checked on what comes in."""
    if own := facts.own:
        if unwatched := _unwatched(facts, own):
            return unwatched
        return yes("own", own.report_source(DRIFT), automatic=facts.runs_pipeline)
    if used := facts.used("check", by_hand=False):
        return yes("tool", facts.use_source(used[0]), tool=used[0].tool)
    return facts.unused("check")


def training_and_serving_agree(facts: Facts) -> Answer:
    """A row gets the same features and the same answer in training and in the server."""
    return _behaves(facts, facts.own, EQUAL_KINDS) if facts.own else feature_store_serves(facts)


def feature_store_serves(facts: Facts) -> Answer:
    """The features of training and server come from one store."""
    online = [use for use in facts.used("feature_store") if "online" in use.call]
    if online:
        return yes("tool", facts.use_source(online[0]), tool=online[0].tool)
    return facts.absent("none") if facts.used("feature_store") else facts.unused("feature_store")


def models_are_fresh(facts: Facts) -> Answer:
    """A model does not get too old."""
    own = facts.own
    if own is None:
        return unknown("people")
    oldest = own.param("retrain.oldest_days")
    source = own.param_source("retrain.oldest_days")
    if not isinstance(oldest, int | float) or isinstance(oldest, bool):
        return no("no_limit", source)
    made = facts.history(own.at("dvc.lock"))
    if not made or facts.repository.is_shallow:
        return unknown("shallow", source)
    commit, seconds = made[0]
    age = facts.repository.days(seconds)
    sources = (source, Source("commit", commit, None, age))
    values = {"days": round(age), "limit": oldest}
    return (
        no("too_old", *sources, **values)
        if age > oldest
        else yes("fresh", *sources, automatic=facts.runs_pipeline, **values)
    )


def numerically_stable(facts: Facts) -> Answer:
    """Odd input gives no NaN, no infinity and no wild answer."""
    return _behaves(facts, facts.own, STABLE_KINDS) if facts.own else _stable_elsewhere(facts)


def computing_has_not_got_worse(facts: Facts) -> Answer:
    """Latency and the use of memory and time are compared from version to version."""
    own = facts.own
    if own is None:
        return unknown("people")
    decided = [entry for entry in own.audited("promote", "reject") if entry.get("evidence")]
    recent = [one for one in map(own.audit_source, decided) if (one.age_days or 0) <= OUTDATED]
    if recent:
        return yes("canary", *recent, automatic=not own.audit_is_copy)
    return no("own_off", own.param_source("serving.slow_ms"))


def quality_has_not_got_worse(facts: Facts) -> Answer:
    """The quality of predictions in production is held against a limit."""
    own = facts.own
    if own is None:
        return _watched(facts, "performance")
    limit = own.param("monitor.minimum_accuracy")
    source = own.param_source("monitor.minimum_accuracy")
    if not isinstance(limit, int | float):
        return no("no_limit", source)
    answer = performance(facts)
    if answer.case != "measured":
        return answer
    reasons = own.report(DRIFT).get("retraining")
    metrics = own.report(DRIFT)["predictions"]["metrics"]
    name = "accuracy" if "accuracy" in metrics else "r2"
    value = metrics.get(name)
    if not isinstance(value, int | float):
        return unknown("people")
    values = {"metric": name, "value": f"{value:.4g}", "limit": limit, "reasons": str(reasons)}
    sources = (*answer.sources, source)
    if value < limit:
        return no("below", *sources, **values)
    return yes("above", *sources, automatic=answer.automatic, **values)


def _outdated(facts: Facts, own: Own) -> Answer | None:
    """Why the report of monitoring does not count; None if it does."""
    if outdated := own.outdated(DRIFT):
        return outdated
    source = own.report_source(DRIFT)
    if source.age_days is not None and source.age_days > OUTDATED:
        return no("watched_long_ago", source, days=round(source.age_days))
    return None


def _unwatched(facts: Facts, own: Own) -> Answer | None:
    """Why the report of monitoring does not count, or that it is of no delivery; None if there is a delivery in it."""
    if outdated := _outdated(facts, own):
        return outdated
    return None if own.report(DRIFT).get("delivery") else no("no_delivery", own.report_source(DRIFT))


def _alerts(own: Own) -> bool:
    """Whether anybody besides the log is told."""
    channels = own.param("alerts.channels", [])
    others = [one for one in channels if one != "log"] if isinstance(channels, list) else []
    return bool(others or own.param("alerts.issue", "none") != "none" or own.param("alerts.textfile"))


def _watched(facts: Facts, kind: str) -> Answer:
    """Whether a tool of this kind is called by what a workflow, a pipeline or a server runs."""
    servers = {use.path for use in facts.used("server")}
    if running := facts.used(kind, by_hand=False) or [use for use in facts.used(kind) if use.path in servers]:
        use = running[0]
        return yes("tool", facts.use_source(use), automatic=facts.is_automatic(use), tool=use.tool)
    if facts.uses(kind):
        return facts.unused(kind)
    if scheduled := facts.workflows.doing("watch"):
        return facts.judged(scheduled)
    return facts.absent("none")


def _behaves(facts: Facts, own: Own, kinds: tuple[str, ...]) -> Answer:
    """What the behaviour tests of these kinds gave."""
    name = "reports/behaviour.json"
    if outdated := own.outdated(name):
        return outdated
    tests = own.report(name).get("tests")
    found = (
        [one for one in tests if isinstance(one, dict) and one.get("kind") in kinds] if isinstance(tests, list) else []
    )
    failed = [str(one.get("name")) for one in found if one.get("passed") is False]
    source = own.report_source(name)
    if failed:
        return no("behaviour_failed", source, test=failed[0])
    if not any(one.get("passed") for one in found):
        return no("behaviour_none", source, kind=kinds[0])
    return yes("behaviour", source, automatic=facts.runs_pipeline, test=str(found[0].get("name")))


def _stable_elsewhere(facts: Facts) -> Answer:
    wanted = re.compile(r"isfinite|isnan|np\.inf|nan_to_num|allclose")
    tests = [path for path in facts.code.tests if SUBJECTS["model"].search(path) and line_of(facts, path, wanted)]
    return tests_run(facts, tests) if tests else facts.absent("none")


PREDICATES = {
    nothing_is_watched: ("0.monitoring.none",),
    nobody_is_told: ("0.monitoring.no_alerts",),
    performance: ("1.monitoring.performance",),
    drift: ("1.monitoring.drift",),
    retraining_by_hand: ("1.monitoring.retraining_by_hand",),
    observability: ("2.monitoring.observability",),
    retraining_by_itself: ("2.monitoring.retraining",),
    response: ("2.monitoring.response",),
    dependencies_notify: ("monitoring.1",),
    invariants_hold: ("monitoring.2",),
    training_and_serving_agree: ("monitoring.3",),
    models_are_fresh: ("monitoring.4",),
    numerically_stable: ("monitoring.5",),
    computing_has_not_got_worse: ("monitoring.6",),
    quality_has_not_got_worse: ("monitoring.7",),
}
OPPOSITES = {"only_afterwards": (response, "0.monitoring.only_afterwards")}
