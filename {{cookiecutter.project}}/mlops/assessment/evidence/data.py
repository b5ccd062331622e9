"""What shows how the data is managed."""

import csv
import io
import re

from mlops.assessment.evidence import tools
from mlops.assessment.evidence.answers import Answer, inapplicable, no, unknown, yes
from mlops.assessment.evidence.facts import Facts
from mlops.assessment.evidence.workflows import Job, Step

TABLES = (".csv", ".tsv", ".parquet", ".xlsx", ".xls", ".feather", ".avro", ".npy", ".npz", ".h5", ".hdf5", ".sqlite")
SMALL = 20_000  # bytes: a smaller table is an example or a list
RESULTS = re.compile(r"(?:^|/)(?:tests?|docs?|reports?|results|fixtures|benchmarks?|examples?)/", re.I)
LFS_POINTER = "version https://git-lfs.github.com/spec/"
FETCHES = re.compile(r"--source|--from-predictions|--query")
CHECKING = re.compile(r"valid|check|quality|expect|verif", re.I)
SCHEDULERS = tools.FRAMEWORKS - {"kedro"}
DAYS_OF_CHECKS = 3  # on so many days a check that is done again and again was done
QUICKLY = 30  # days from the code of a feature to the results with it
FEATURES = re.compile(r"feature|preprocess|transform|clean|prepare", re.I)


def data_versions(facts: Facts) -> Answer:
    """Data is versioned by a tool, and something is tracked by it."""
    repository, pipelines = facts.repository, facts.pipelines
    kept = [path for path in pipelines.digests if path not in repository.files]
    if kept:
        listed = [path for _, path in pipelines.tracked] or pipelines.locks
        remotes = [repository.source(pipelines.configuration, line) for _, line in pipelines.remotes]
        sources = [*(repository.source(path) for path in dict.fromkeys(listed)), *remotes]
        return yes("dvc" if remotes else "dvc_alone", *sources, count=len(kept))
    lfs = [path for path in repository.ending(*TABLES) if (repository.text(path) or "").startswith(LFS_POINTER)]
    if lfs:
        return yes("lfs", repository.source(lfs[0]), count=len(lfs))
    if used := facts.used("data_version"):
        return yes("tool", facts.use_source(used[0]), tool=used[0].tool)
    if repository.below(".dvc"):
        return no("dvc_empty", repository.source(next(iter(repository.below(".dvc")))))
    return facts.unused("data_version")


def data_is_local(facts: Facts) -> Answer:
    """Data lies in files of one machine, or in Git."""
    repository = facts.repository
    committed = [
        path for path in repository.ending(*TABLES) if repository.files[path].size > SMALL and not RESULTS.search(path)
    ]
    if committed:
        return yes("committed", repository.source(committed[0]), path=committed[0], count=len(committed))
    if facts.code.local_paths:
        path, line = facts.code.local_paths[0]
        return yes("local_path", repository.source(path, line), path=path, line=line)
    if remotes := facts.pipelines.remotes:
        address, line = remotes[0]
        far = "://" in address and not address.startswith("file:")
        return (no if far else yes)(
            "remote" if far else "local_remote", repository.source(facts.pipelines.configuration, line)
        )
    if used := facts.used("data_version"):
        return no("stored", facts.use_source(used[0]))
    if small := [path for path in repository.ending(*TABLES) if not RESULTS.search(path)]:
        return yes("committed", repository.source(small[0]), path=small[0], count=len(small))
    return unknown("unknown")


def data_checks(facts: Facts) -> Answer:
    """A program checks the data, as part of the pipeline or of a workflow, and the newest check is green."""
    if own := facts.own:
        name = "reports/validation.json"
        if outdated := own.outdated(name):
            return outdated
        report = own.report(name)
        if errors := report.get("errors"):
            return no("errors", own.report_source(name), count=errors)
        return yes("validated", own.report_source(name), automatic=facts.runs_pipeline, count=report.get("passed", 0))
    for stage in facts.pipelines.stages:
        key = (stage.folder, stage.name)
        if CHECKING.search(stage.name) and key in facts.pipelines.locked and key not in facts.pipelines.stale:
            source = facts.repository.source(stage.path, stage.line)
            return yes("stage", source, automatic=facts.runs_pipeline, stage=stage.name)
    if used := facts.used("check", by_hand=False):
        automatic = facts.is_automatic(used[0]) and facts.runs_pipeline
        return yes("tool", facts.use_source(used[0]), automatic=automatic, tool=used[0].tool)
    if found := facts.workflows.doing("check"):
        return facts.judged(found)
    return facts.unused("check") if facts.uses("check") else facts.nothing("none")


def lineage(facts: Facts) -> Answer:
    """For a result it is recorded which data and code it comes from."""
    pipelines, repository = facts.pipelines, facts.repository
    if pipelines.locked:
        [path, *_] = pipelines.locks
        if pipelines.stale:
            return no("stale", repository.source(path), reason=next(iter(pipelines.stale.values())))
        return yes("lock", repository.source(path), automatic=True, count=len(pipelines.locked))
    if used := facts.used("lineage"):
        return yes("tool", facts.use_source(used[0]), automatic=facts.is_automatic(used[0]), tool=used[0].tool)
    return facts.unused("lineage")


def data_arrives_by_itself(facts: Facts) -> Answer:
    """New data is fetched, checked and prepared without a hand."""
    found = _scheduled(facts, "retrain", "fetch", "pipeline")
    if facts.own:
        if recent := facts.recent(facts.retrained):
            return yes("retrained", *recent, automatic=True, count=len(recent))
        fed = [(job, step) for job, step in found if step.deed == "fetch" or FETCHES.search(step.command.text)]
        if found and not fed:
            job, step = found[0]
            return no("no_source", facts.job_source(job, step), path=step.path, line=step.line)
        return facts.judged(fed) if fed else facts.nothing("own")
    if found:
        return facts.judged(found)
    return _elsewhere(facts) or facts.nothing("none")


def feature_store(facts: Facts) -> Answer:
    """Features are defined once, for training and serving, and kept with their history."""
    if own := facts.own:
        tables = own.param("features.tables")
        source = own.param_source("features.tables")
        if not isinstance(tables, dict) or not tables:
            return no("own_off", source)
        stale = {name: reason for (_, name), reason in facts.pipelines.stale.items()}
        if "prepare" in stale:
            return no("own_stale", source, reason=stale["prepare"])
        return yes("own", source, automatic=True, count=len(tables))
    if used := facts.used("feature_store"):
        return yes("tool", facts.use_source(used[0]), automatic=facts.is_automatic(used[0]), tool=used[0].tool)
    if defined := facts.repository.named("feature_store.yaml"):
        return facts.unused("feature_store", "unused", facts.repository.source(defined[0]), path=defined[0])
    return facts.unused("feature_store")


def quality_is_watched(facts: Facts) -> Answer:
    """The quality of the data is checked again and again, not once."""
    if own := facts.own:
        names = ("reports/drift.json", "reports/validation.json")
        checks = [facts.recent(facts.history(own.at(name))) for name in names]
        found = max(checks, key=len)
        if len({round(source.age_days or 0) for source in found}) >= DAYS_OF_CHECKS:
            return yes("history", *found, automatic=True, count=len(found))
    has_checks = bool(facts.own) or bool(facts.used("check", by_hand=False))
    jobs = _scheduled(facts, "check", "watch", "retrain", *(("pipeline",) if has_checks else ()))
    return facts.judged(jobs) if jobs else facts.nothing("none")


def features_are_useful(facts: Facts) -> Answer:
    """It is known how much each feature contributes."""
    if own := facts.own:
        name = "reports/plots/importances.csv"
        if unmade := own.unmade(name, "reports/evaluation.json"):
            return unmade
        return yes("own", own.report_source(name), automatic=facts.runs_pipeline)
    if used := facts.used("explainer"):
        return yes("tool", facts.use_source(used[0]), automatic=facts.is_automatic(used[0]), tool=used[0].tool)
    return facts.unused("explainer")


def feature_costs(facts: Facts) -> Answer:
    """It is known what each feature costs in time, money and upkeep."""
    return unknown("people")


def features_keep_rules(facts: Facts) -> Answer:
    """Rules about which columns a model may use are written down and enforced."""
    own = facts.own
    if own is None:
        return unknown("people")
    columns = _columns(facts)
    ruled = [
        name for name, column in columns.items() if column.get("sensitive") or column.get("role") in ("ignore", "id")
    ]
    source = facts.repository.source(own.at("schema.yaml"), getattr(next(iter(ruled), None), "line", None))
    if not ruled:
        return no("none", facts.repository.source(own.at("schema.yaml")))
    return own.outdated("reports/validation.json") or yes(
        "own", source, automatic=facts.runs_pipeline, count=len(ruled)
    )


def privacy(facts: Facts) -> Answer:
    """Personal data has controls in the pipeline and the server."""
    own = facts.own
    if own is None:
        return unknown("people")
    sensitive = [name for name, column in _columns(facts).items() if column.get("sensitive")]
    if not sensitive:
        return inapplicable("no_columns", facts.repository.source(own.at("schema.yaml")))
    source = own.param_source("serving.mask")
    if own.param("serving.mask") == "sensitive":
        return yes("masked", source, automatic=True, count=len(sensitive))
    return no("unmasked", source, columns=", ".join(sensitive))


def features_come_quickly(facts: Facts) -> Answer:
    """From the idea of a feature to a result with it takes days, not months."""
    own = facts.own
    if own is None:
        return unknown("people")
    changed = facts.history(own.at("project/features.py"))[:-1]  # the first commit came with the template
    results = [seconds for _, seconds in facts.history(own.at("dvc.lock"))]
    for commit, seconds in changed:
        if after := [moment for moment in results if moment >= seconds]:
            days = (min(after) - seconds) / 86_400
            source = next(iter(facts.recent([(commit, seconds)])), None)
            return (yes if days <= QUICKLY else no)("took", *([source] if source else []), days=round(days, 1))
    return unknown("no_feature")


def feature_code_is_tested(facts: Facts) -> Answer:
    """The code that makes features has tests, and a workflow runs them."""
    tests = [path for path in facts.code.tests if _is_about(facts, path, FEATURES)]
    if not tests:
        return facts.absent("none")
    return tests_run(facts, tests)


def tests_run(facts: Facts, tests: list[str]) -> Answer:
    """Whether a workflow runs these tests, and its newest run is green."""
    source = facts.repository.source(tests[0])
    found = facts.workflows.doing("test")
    if not found:
        answer = facts.nothing("tests_unrun")
        return Answer(
            answer.outcome, answer.case, (source, *answer.sources), values={"path": tests[0], **answer.values}
        )
    answer = facts.judged(found)
    if answer.outcome != "true":
        return answer
    return yes("tests_run", source, *answer.sources, automatic=True, count=len(tests), path=tests[0])


def _is_about(facts: Facts, path: str, subject: re.Pattern[str]) -> bool:
    module = facts.code.module(path)
    return bool(subject.search(path) or (module and any(subject.search(name) for name in module.imports)))


def _scheduled(facts: Facts, *deeds: str) -> list[tuple[Job, Step]]:
    """The first step of each scheduled job that does one of these things."""
    return [(job, step) for job, step in facts.workflows.doing(*deeds) if job.on_schedule]


def _elsewhere(facts: Facts) -> Answer | None:
    """A system of another kind starts it, whose runs cannot be read from here."""
    used = [use for use in facts.uses("pipeline") if use.root in SCHEDULERS]
    if used:
        return unknown("scheduler", facts.use_source(used[0]), tool=used[0].tool)
    if bundle := facts.repository.named("databricks.yml"):
        return unknown("scheduler", facts.repository.source(bundle[0]), tool="Databricks")
    return None


def _columns(facts: Facts) -> dict[str, dict[str, object]]:
    """The columns of schema.yaml that have something to say."""
    content = facts.own.content("schema.yaml") if facts.own else {}
    columns = content.get("columns")
    return {name: one for name, one in columns.items() if isinstance(one, dict)} if isinstance(columns, dict) else {}


def rows_of(facts: Facts, path: str) -> list[dict[str, str]]:
    """The rows of a small committed CSV."""
    return list(csv.DictReader(io.StringIO(facts.repository.text(path) or "")))


PREDICATES = {
    data_is_local: ("0.data.local_files",),
    data_versions: ("1.data.versioning",),
    data_checks: ("1.data.checks", "data.1"),
    lineage: ("1.data.lineage",),
    data_arrives_by_itself: ("2.data.automated",),
    feature_store: ("2.data.feature_store",),
    quality_is_watched: ("2.data.quality",),
    features_are_useful: ("data.2",),
    feature_costs: ("data.3",),
    features_keep_rules: ("data.4",),
    privacy: ("data.5",),
    features_come_quickly: ("data.6",),
    feature_code_is_tested: ("data.7",),
}
OPPOSITES = {
    "no_data_versions": (data_versions, "0.data.no_versioning"),
    "data_is_checked_by_hand": (data_checks, "0.data.checks_by_hand"),
}
