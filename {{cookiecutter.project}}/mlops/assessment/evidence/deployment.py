"""What shows how models get from training into production."""

import re

from mlops.assessment.evidence.answers import Answer, no, unknown, yes
from mlops.assessment.evidence.facts import OUTDATED, Facts, Own
from mlops.assessment.evidence.model import failed_rules, line_of, version_source
from mlops.assessment.evidence.workflows import Job, Step
from mlops.assessment.finding import Source

FEWEST_STAGES = 2
# What a file of each tool needs to define a pipeline: without it the file is only there.
DEFINED = {
    "MLproject": re.compile(r"^[ \t]*command:[ \t]*\S", re.M),
    "Snakefile": re.compile(r"^[ \t]*(?:rule|include|module)\b", re.M),
    "databricks.yml": re.compile(r"^[ \t]*(?:bundle|include|resources):", re.M),
}
STAGING = re.compile(
    r"(?:^|[^a-z])(?:stag(?:e|ing)?|test(?:ing)?|qa|uat|pre-?prod(?:uction)?|integration)(?:[^a-z]|$)", re.I
)
# How a share of the requests goes to a new version, in manifests and in commands; a comment is none.
CANARY = re.compile(
    r"^\s*-?\s*(?:canaryTrafficPercent|canary|traffic|trafficPercent|trafficSplit|weight|setWeight|stepWeight|maxWeight)\b(?!.*:\s*(?:0|100)\s*$)"
)
ROLLOUT_KIND = re.compile(
    r"^[ \t]*kind:[ \t]*(?:Rollout|Canary|InferenceService|SeldonDeployment|VirtualService|TrafficSplit|HTTPRoute)\b",
    re.M,
)
ANALYSIS_KIND = re.compile(
    r"^[ \t]*kind:[ \t]*(?:AnalysisTemplate|ClusterAnalysisTemplate|Canary|AnalysisRun)[ \t]*$", re.M
)
DELIVERED_BY_CLUSTER = re.compile(
    r"^[ \t]*apiVersion:[ \t]*(?:argoproj\.io/v1alpha1|(?:kustomize|helm)\.toolkit\.fluxcd\.io/\S+)", re.M
)
SPLITS = re.compile(r"--traffic\b|update-traffic|--canary|canary|--to-tags|set-traffic|blue.?green", re.I)
ROLLS_BACK = re.compile(r"rollout undo|helm (?:upgrade .*--atomic|rollback)|--rollback|rollback|--auto-rollback", re.I)
SERVES = re.compile(r"(?:CMD|ENTRYPOINT)\b.*(?:uvicorn|gunicorn|serv|api|app|predict|bentoml|flask|mlflow)", re.I)
INSTALLS = re.compile(r"RUN\b.*\b(?:pip|uv|poetry|conda|mamba|pdm)\b")
PINS = ("requirements.txt", "poetry.lock", "uv.lock", "pdm.lock", "Pipfile.lock", "conda-lock.yml", "pixi.lock")
PINNED = re.compile(r"^[\w.\[\]-]+==", re.M)


def training_pipeline(facts: Facts) -> Answer:
    """Training is a pipeline that runs by one command, and its last run is that of the files that are committed."""
    pipelines, repository = facts.pipelines, facts.repository
    if len(pipelines.stages) >= FEWEST_STAGES:
        first = repository.source(pipelines.stages[0].path, pipelines.stages[0].line)
        if not pipelines.locked:
            return no("never_run", first)
        if pipelines.stale:
            return no("stale", first, reason=next(iter(pipelines.stale.values())))
        return yes("dvc", first, automatic=facts.runs_pipeline, count=len(pipelines.stages))
    if used := facts.used("pipeline"):
        return yes("tool", facts.use_source(used[0]), tool=used[0].tool)
    for name, tool in (("MLproject", "MLflow Projects"), ("Snakefile", "Snakemake"), ("databricks.yml", "Databricks")):
        if defined := [path for path in repository.named(name) if DEFINED[name].search(repository.text(path) or "")]:
            return yes("tool", repository.source(defined[0]), tool=tool)
    if found := facts.workflows.doing("pipeline", "retrain"):
        return facts.judged(found)
    return facts.unused("pipeline") if facts.uses("pipeline") else facts.nothing("none")


def packaged(facts: Facts) -> Answer:
    """A model is packaged with all that it needs to answer."""
    if own := facts.own:
        report = "reports/registration.json"
        if own.versions and "package_digest" in own.versions[0].tags:
            return yes("version", version_source(own), automatic=True)
        if outdated := own.outdated(report):
            return outdated
        if failed := failed_rules(own):
            return no("gate_failed", own.report_source(report), rules=failed)
        return yes("own", own.report_source(report), facts.repository.source(own.at("Dockerfile")), automatic=True)
    if used := facts.used("packager"):
        return yes("tool", facts.use_source(used[0]), tool=used[0].tool)
    images = [path for path in facts.repository.files if path.rpartition("/")[2].startswith("Dockerfile")]
    for path in images:
        lines = (facts.repository.text(path) or "").replace("\\\n", " ").splitlines()
        if any(map(SERVES.match, lines)) and any(map(INSTALLS.match, lines)):
            return yes("image", facts.repository.source(path, line_of(facts, path, SERVES)), path=path)
    if images:
        return facts.absent("image_without", facts.repository.source(images[0]), path=images[0])
    return facts.unused("packager")


def staging(facts: Facts) -> Answer:
    """A model is tested in front of production before it gets there."""
    if own := facts.own:
        report = "reports/registration.json"
        if outdated := own.outdated(report):
            return outdated
        if failed := failed_rules(own):
            return no("gate_failed", own.report_source(report), rules=failed)
        rules = own.report(report).get("rules")
        approval = own.param_source("register.approval")
        count = len(rules) if isinstance(rules, list) else 0
        return yes("gate", own.report_source(report), approval, automatic=True, count=count)
    found = [
        (job, step)
        for job, step in facts.workflows.doing("deliver", "pipeline", "test")
        if STAGING.search(job.environment)
        or any(_is_staging(one.command.text) for one in job.doing("deliver", "pipeline"))
    ]
    if found:
        return facts.judged(found)
    return facts.nothing("none")


def delivery_is_automatic(facts: Facts) -> Answer:
    """From a change of code to production without a hand."""
    found = [(job, step) for job, step in facts.workflows.doing("deliver") if "push" in job.triggers and job.on_change]
    if own := facts.own:
        if own.tampered:
            return tampered_with(own)
        decided = _recent(facts, "promote", evidence=True)
        if found and decided:
            return _decided(own, "delivered", decided)
        return facts.judged(found) if found else facts.nothing("own")
    return facts.judged(found) if found else facts.nothing("none")


def canary(facts: Facts) -> Answer:
    """A new version answers a part of the requests first."""
    if own := facts.own:
        if own.tampered:
            return tampered_with(own)
        if decided := _recent(facts, "promote", "reject", evidence=True):
            return _decided(own, "decided", decided)
        route = str(own.param("serving.route", "champion"))
        case = "own_configured" if route in ("canary", "ab", "shadow") else "own_off"
        return no(case, own.param_source("serving.route"), route=route)
    return _manifests(facts, ROLLOUT_KIND) or _commanded(facts, SPLITS)


def rollback(facts: Facts) -> Answer:
    """A version that turns out worse is rolled back by a program."""
    if own := facts.own:
        if own.tampered:
            return tampered_with(own)
        if decided := _recent(facts, "reject", evidence=True):
            return yes(
                "rolled_back",
                *(own.audit_source(entry) for entry in decided),
                automatic=not own.audit_is_copy,
                count=len(decided),
            )
        if decided := _recent(facts, "promote", evidence=True):
            return yes(
                "guarded",
                *(own.audit_source(entry) for entry in decided),
                automatic=not own.audit_is_copy,
                count=len(decided),
            )
        if by_hand := _recent(facts, "rollback"):
            return no("by_hand", own.audit_source(by_hand[0]))
        return no("own_off", own.param_source("serving.route"))
    return _manifests(facts, ANALYSIS_KIND) or _commanded(facts, ROLLS_BACK)


def can_be_rolled_back(facts: Facts) -> Answer:
    """To take a version back was done, by a program or by hand with a record of it."""
    if own := facts.own:
        if own.tampered:
            return tampered_with(own)
        if decided := _recent(facts, "reject", evidence=True):
            return yes("automatic", *(own.audit_source(entry) for entry in decided), automatic=not own.audit_is_copy)
        if done := own.audited("rollback"):
            return yes("by_hand", own.audit_source(done[0]), who=str(done[0].get("who")))
        return no("own_none", facts.repository.source(own.at("reports/audit.jsonl")))
    return rollback(facts)


def deployed_rarely(facts: Facts) -> Answer:
    """Months lie between two versions in production."""
    if own := facts.own:
        if own.tampered:
            return tampered_with(own)
        if facts.repository.is_shallow and not own.audit:
            return unknown("shallow")
        changes = own.audited("promote", "rollback")
        if not changes:
            return yes("never", facts.repository.source(own.at("reports/audit.jsonl")))
        ages = [own.audit_source(entry) for entry in changes]
        newest = ages[0].age_days
        if newest is None:
            return unknown("unknown", ages[0])
        return (yes if newest > OUTDATED else no)("newest", *ages[:2], days=round(newest))
    found = facts.workflows.doing("deliver")
    if not found:
        return unknown("unknown")
    answer = facts.judged(found)
    turned = {"true": no, "false": yes, "not_available": unknown}[answer.outcome]
    return turned(answer.case, *answer.sources, **answer.values)


def training_is_reproducible(facts: Facts) -> Answer:
    """The same data, code and packages give the same model again."""
    repository = facts.repository
    pins = [path for path in repository.named(*PINS) if PINNED.search(repository.text(path) or "") or "lock" in path]
    if not pins:
        return facts.absent("unpinned")
    answer = training_pipeline(facts)
    if answer.case != "dvc":
        return facts.absent("no_record", repository.source(pins[0]), path=pins[0])
    sources = [*answer.sources, repository.source(pins[0])]
    if facts.own and (made := [one for one in facts.own.versions or () if one.tags.get("remade")]):
        sources.append(Source("version", f"{made[0].number} of {facts.own.name}", None, None))
    return yes("locked", *sources, automatic=facts.runs_pipeline, path=pins[0])


def pipeline_is_tested_whole(facts: Facts) -> Answer:
    """The pipeline is run as a whole before a change counts."""
    found = [(job, step) for job, step in facts.workflows.doing("pipeline", "retrain") if job.on_change]
    answer = facts.judged(found) if found else facts.nothing("none")
    if answer.outcome == "true" or (found and answer.outcome == "false"):
        return answer
    by_hand = training_pipeline(facts)
    if by_hand.case == "dvc":  # its results are committed
        return yes("by_hand", *by_hand.sources, *answer.sources, count=by_hand.values["count"])
    return answer


def quality_is_judged_before_serving(facts: Facts) -> Answer:
    """A model is judged by rules before it can serve."""
    if own := facts.own:
        report = "reports/registration.json"
        if outdated := own.outdated(report):
            return outdated
        failed = failed_rules(own)
        source = own.report_source(report)
        # The gate has done what it is for, whether it let the model pass or not.
        return yes("refused" if failed else "passed", source, automatic=facts.runs_pipeline, rules=failed)
    found = facts.workflows.doing("review")
    return facts.judged(found).by_hand() if found else facts.nothing("none")


def model_is_debuggable(facts: Facts) -> Answer:
    """Single answers of the model can be explained."""
    if own := facts.own:
        name = "reports/plots/partial_dependence.csv"
        if unmade := own.unmade(name, "reports/evaluation.json"):
            return unmade
        return yes("own", own.report_source(name))
    if used := facts.used("explainer"):
        return yes("tool", facts.use_source(used[0]), tool=used[0].tool)
    return facts.unused("explainer")


def tampered_with(own: Own) -> Answer:
    """An audit log that somebody has changed proves nothing."""
    return Answer("error", "tampered", (own.audit_source(own.audit[-1]),), values={"reason": own.tampered})


def _decided(own: Own, case: str, entries: list[dict[str, object]]) -> Answer:
    sources = [own.audit_source(entry) for entry in entries]
    return yes(case, *sources, automatic=not own.audit_is_copy, count=len(entries))


def _recent(facts: Facts, *actions: str, evidence: bool = False) -> list[dict[str, object]]:
    """The entries of the audit log about these actions that are not outdated; with `evidence`, by the server's test."""
    own = facts.own
    if own is None:
        return []
    found = [entry for entry in own.audited(*actions) if not evidence or entry.get("evidence")]
    return [entry for entry in found if (own.audit_source(entry).age_days or 0) <= OUTDATED]


def _is_staging(command: str) -> bool:
    return bool(re.search(r"(?:^|[\s=/_-])(?:staging|stage|qa|uat|preprod|test)(?:[\s=/_.-]|$)", command))


def _manifests(facts: Facts, kind: re.Pattern[str]) -> Answer | None:
    """What manifests of a cluster say, if a workflow or the cluster itself applies them; None without one."""
    repository = facts.repository
    texts = [(path, repository.text(path) or "") for path in repository.ending(".yml", ".yaml")]
    found = []
    for path, text in texts:
        if kind.search(text) and (kind is ANALYSIS_KIND or line_of(facts, path, CANARY)):
            found.append((path, line_of(facts, path, CANARY) or line_of(facts, path, kind)))
    if not found:
        return None
    path, line = found[0]
    source = repository.source(path, line)
    applied = facts.workflows.doing("deliver")
    if applied:
        answer = facts.judged(applied)
        return Answer(answer.outcome, answer.case, (source, *answer.sources), answer.automatic, answer.values)
    if any(DELIVERED_BY_CLUSTER.search(text) for _, text in texts):
        return unknown("cluster", source, path=path)
    return facts.nothing("unapplied") if facts.workflows.unsupported else facts.absent("unapplied", source, path=path)


def _commanded(facts: Facts, pattern: re.Pattern[str]) -> Answer:
    """What the commands of workflows say."""
    found: list[tuple[Job, Step]] = [
        (job, step)
        for job in facts.workflows.jobs
        for step in job.steps
        if not step.command.tolerated and step.deed == "deliver" and pattern.search(step.command.text)
    ]
    if not found and pattern is ROLLS_BACK:
        found = [(job, step) for job in facts.workflows.jobs for step in job.steps if pattern.match(_after(step))]
    return facts.judged(found) if found else facts.nothing("none")


def _after(step: Step) -> str:
    """The command without the name of its tool."""
    return " ".join(step.command.words[1:])


PREDICATES = {
    deployed_rarely: ("0.deployment.rare",),
    training_pipeline: ("1.deployment.pipeline",),
    packaged: ("1.deployment.packaged",),
    staging: ("1.deployment.staging",),
    delivery_is_automatic: ("2.deployment.automatic",),
    canary: ("2.deployment.canary", "infrastructure.6"),
    rollback: ("2.deployment.rollback",),
    training_is_reproducible: ("infrastructure.1",),
    pipeline_is_tested_whole: ("infrastructure.3",),
    quality_is_judged_before_serving: ("infrastructure.4",),
    model_is_debuggable: ("infrastructure.5",),
    can_be_rolled_back: ("infrastructure.7",),
}
OPPOSITES = {
    "deployed_by_hand": (delivery_is_automatic, "0.deployment.by_hand"),
    "not_checked_before_production": (staging, "0.deployment.no_check"),
}
