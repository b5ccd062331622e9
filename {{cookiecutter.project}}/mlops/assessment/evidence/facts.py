"""What the predicates look at: a repository, its code, workflows, pipelines and systems, and a project of ours."""

import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from mlops.assessment.evidence import answers, documents, systems
from mlops.assessment.evidence.answers import Answer
from mlops.assessment.evidence.code import CONFIGURED, HAND, Code, Use
from mlops.assessment.evidence.documents import UnreadableError
from mlops.assessment.evidence.pipelines import Pipelines
from mlops.assessment.evidence.repository import Repository
from mlops.assessment.evidence.systems import Run, Version
from mlops.assessment.evidence.workflows import Job, Step, Workflows
from mlops.assessment.finding import Source
from mlops.base.errors import StoreError
from mlops.history import paths
from mlops.registry import ledger

OUTDATED = 92  # days; an older run or check says nothing of today
OLDEST = 180  # days; results as old as that are no longer those of the project
RETRAIN_MARK = "Retrain-Delivery: "  # in the message of a commit that `retrain` makes
PROPOSED = ("pull_request", "pull_request_target", "merge_request_event", "external_pull_request_event")
CLOCKS = 3_600  # seconds that the clocks of two machines may differ by
ENDED = ("success", "failure", "timed_out", "startup_failure")


@dataclass
class Own:
    """A project that this template generated: its folder in the repository, its parameters and its reports."""

    repository: Repository
    pipelines: Pipelines
    folder: str
    audit_is_copy: bool = True  # the log is only a file of the repository, which anybody can write

    def at(self, path: str) -> str:
        """A path of the project as one of the repository."""
        return f"{self.folder}/{path}" if self.folder else path

    @cached_property
    def params(self) -> dict[str, Any]:
        """All of params.yaml, as it is written; empty if it cannot be read."""
        return _read(self.repository, self.at("params.yaml"), dict)

    def param(self, name: str, default: Any = None) -> Any:
        """A parameter by its dotted name."""
        found: Any = self.params
        for part in name.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        return default if found is None else found

    def param_source(self, name: str) -> Source:
        """The line of a parameter, or of the deepest section of it that is there."""
        found, line = self.params, None
        for part in name.split("."):
            key = next((key for key in found if key == part), None) if isinstance(found, dict) else None
            if key is None:
                break
            line, found = getattr(key, "line", line), found[key]
        return self.repository.source(self.at("params.yaml"), line)

    def content(self, name: str) -> dict[str, Any]:
        """A YAML file of the project; empty if there is none or it cannot be read."""
        return _read(self.repository, self.at(name), dict)

    def report(self, name: str) -> dict[str, Any]:
        """A committed report; empty if there is none or it is no JSON."""
        return _read(self.repository, self.at(name), dict)

    def report_source(self, name: str) -> Source:
        """A report as a source."""
        return self.repository.source(self.at(name), kind="report")

    def outdated(self, name: str) -> Answer | None:
        """The answer that a report gives because it is missing, or older than what it judges; None if it counts."""
        path = self.at(name)
        if path not in self.repository.files:
            return answers.no("report_missing", path=path)
        stage, current = self.pipelines.writer(path), self.pipelines.is_current(path)
        if current is False or (current is None and stage is not None and not stage.parametrised):
            reason = self.pipelines.stale.get((stage.folder, stage.name), "") if stage else ""
            return answers.no("report_outdated", self.report_source(name), path=path, reason=reason or "dvc.lock")
        ages = [self.repository.source(each).age_days for each in (path, self.at("dvc.lock"))]
        known = [age for age in ages if age is not None]
        if known and min(known) > OLDEST:
            reason = f"it was last made {round(min(known))} days ago"
            return answers.no("report_outdated", self.report_source(name), path=path, reason=reason)
        if not self.report(name):
            return answers.no("report_unreadable", self.report_source(name), path=path)
        return None

    def unmade(self, name: str, report: str) -> Answer | None:
        """The answer of a file that is missing, or whose stage's report does not count; None if it counts."""
        if outdated := self.outdated(report):
            return outdated
        path = self.at(name)
        return None if path in self.repository.files else answers.no("report_missing", path=path)

    @cached_property
    def audit(self) -> list[dict[str, Any]]:
        """The entries of the audit log, oldest first: of the registry, or where none can be read of its copy in Git."""
        lines = (self.repository.text(self.at(paths.AUDIT.as_posix())) or "").splitlines()
        log = self._registered(audit_log(self.name))
        listed = [each.tags.get("entry", "") for each in reversed(log or ())]
        first: dict[Any, dict[str, Any]] = {}
        for each in _entries(listed):  # of two changes at once, the registry has kept both, and the first one counts
            first.setdefault(str(each.get("number")), each)
        # A registry without this model is another one, and says nothing.
        self.audit_is_copy = not log and not (log is not None and self.versions)
        return _entries(lines) if self.audit_is_copy else list(first.values())

    @cached_property
    def tampered(self) -> str:
        """What shows that somebody has changed the audit log; "" if its entries follow each other up to now."""
        latest = self.repository.now.timestamp() + CLOCKS
        for entry in self.audit:
            when = _moment(entry.get("when"))
            if when is None or when > latest:
                return f"entry {entry.get('number')} says {entry.get('when')!r}, " + (
                    "which is no time" if when is None else "which is in the future"
                )
        return next(iter(ledger.broken(self.audit)), "")

    def audited(self, *actions: str) -> list[dict[str, Any]]:
        """The entries about one of these actions, newest first; none of a log that somebody has changed."""
        if self.tampered:
            return []
        return [entry for entry in reversed(self.audit) if entry["action"] in actions]

    def audit_source(self, entry: Mapping[str, Any]) -> Source:
        """An entry of the audit log as a source."""
        when = _moment(entry.get("when"))
        age = None if when is None else self.repository.days(when)
        number = self.audit.index(dict(entry)) + 1
        if self.audit_is_copy:
            return Source("report", self.at(paths.AUDIT.as_posix()), number, age)
        return Source("version", f"{number} of {audit_log(self.name)}, the audit log", None, age)

    @cached_property
    def name(self) -> str:
        """The name of the registered model."""
        return str(self.param("register.name", "model"))

    @cached_property
    def versions(self) -> list[Version] | None:
        """The versions in the registry; None where it cannot be read."""
        return self._registered(self.name)

    def _registered(self, name: str) -> list[Version] | None:
        found = systems.versions(name, self.repository.path / self.folder / "mlflow.db")
        # The variable may lead to the registry of another project, where nothing being there says nothing.
        return None if not found and os.environ.get("MLFLOW_TRACKING_URI") else found


@dataclass
class Facts:
    """All that is known of a repository; most of it is read when a predicate asks for it."""

    repository: Repository
    code: Code
    workflows: Workflows
    pipelines: Pipelines
    own: Own | None
    asked: "Future[list[Run] | None]"

    @cached_property
    def runs(self) -> list[Run] | None:
        """The newest runs of its workflows; None without access."""
        return self.asked.result()

    def uses(self, kind: str) -> list[Use]:
        """The uses of tools of a kind, whether anything runs them or not."""
        return self.code.uses[kind]

    def used(self, kind: str, *, by_hand: bool = True) -> list[Use]:
        """The uses that something runs, those of a system first; with `by_hand` what a person ran or is told to run."""
        return [use for use in self.uses(kind) if self.code.rank(use.path) <= (HAND if by_hand else CONFIGURED)]

    def is_automatic(self, use: Use) -> bool:
        """Whether a workflow or a stage of a pipeline runs a use."""
        return use.path in self.code.practised

    def unused(self, kind: str, case: str = "none", *sources: Source, **values: Any) -> Answer:
        """Nothing of a kind is practised: nothing that is known runs the call, or (`case`) there is none."""
        if not (present := self.uses(kind)):
            return self.absent(case, *sources, **values)
        use = present[0]
        if self.repository.truncated:
            return answers.unknown("too_large")
        answer = self.nothing("unpractised")
        said = {"tool": use.tool, "path": use.path, "line": use.line, **answer.values}
        return replace(answer, sources=(self.use_source(use), *answer.sources), values=said)

    def use_source(self, use: Use) -> Source:
        """A use as a source."""
        return self.repository.source(use.path, use.line)

    def job_source(self, job: Job, step: Step | None = None) -> Source:
        """A job, or a step of it, as a source."""
        line, path = (step.line, step.path) if step else (job.line, job.path)
        return self.repository.source(path, line, "workflow")

    def newest(self, job: Job, *, delivers: bool = False) -> Run | None:
        """The newest run of a job's workflow that came to its end, on the main branch if one is there.

        What a change that is only proposed has started is no delivery.
        """
        name = job.name if job.provider == "GitLab CI" else job.workflow
        ended = [run for run in self.runs or () if run.name == name and run.conclusion in ENDED]
        if delivers:
            ended = [run for run in ended if run.event not in PROPOSED]
        mains = (self.repository.branch,) if self.repository.branch else ("main", "master")
        on_main = [run for run in ended if run.branch in mains]
        if on_main and not self.repository.branch and self.repository.days(on_main[0].started) > OUTDATED:
            on_main = []  # work goes on in a branch of another name
        return next(iter(on_main or ended), None)

    def judged(self, found: Iterable[tuple[Job, Step]], **values: Any) -> Answer:
        """What the jobs that do something come to: true only if the newest run of one of them is known to be green.

        Without access to the runs nothing is said against them. The cases are those of `any` in sentences.yaml.
        """
        pairs = list(found)
        if not pairs:
            return self.nothing()
        rank = {"true": 0, "not_available": 1, "false": 2}
        return min((self._judged(job, step, values) for job, step in pairs), key=lambda each: rank[each.outcome])

    def nothing(self, case: str = "nothing") -> Answer:
        """No workflow does it; if there are workflows that cannot be judged, nobody knows."""
        if self.workflows.unsupported:
            path = self.workflows.unsupported[0]
            return answers.unsupported("other_provider", self.repository.source(path, kind="workflow"), path=path)
        if self.workflows.unreadable:
            path, reason = next(iter(self.workflows.unreadable.items()))
            source = self.repository.source(path, kind="workflow")
            return Answer("error", "unreadable", (source,), values={"path": path, "reason": reason})
        if self.workflows.foreign:
            path, line, what = self.workflows.foreign[0]
            source = self.repository.source(path, line, "workflow")
            return answers.unsupported("foreign", source, path=path, what=what)
        if self.workflows.unresolved:
            path, line, what = self.workflows.unresolved[0]
            source = self.repository.source(path, line, "workflow")
            return answers.unsupported("unresolved", source, path=path, line=line, what=what)
        return answers.no(case)  # workflows are read first, whatever the size of the repository

    def absent(self, case: str, *sources: Source, **values: Any) -> Answer:
        """It was not found; a repository that was not read to its end may have it all the same."""
        if self.repository.truncated:
            return answers.unknown("too_large")
        return answers.no(case, *sources, **values)

    def _judged(self, job: Job, step: Step, values: Mapping[str, Any]) -> Answer:
        source = self.job_source(job, step)
        words = {"job": job.name, "path": step.path, "line": step.line, "command": step.command.text, **values}
        words["switch"] = f" ({job.switch})" if job.switch else ""
        if self.runs is None:
            case = "job_unknown" if self.repository.remote else "job_unpushed"
            return Answer("not_available", case, (source,), values=words)
        run = self.newest(job, delivers=step.deed == "deliver")
        if run is None and len(self.runs) >= systems.RUNS:  # it may be an older one
            return Answer("not_available", "job_unknown", (source,), values=words)
        if run is None:
            return Answer("false", "job_never", (source,), values=words)
        age = self.repository.days(run.started)
        proof = Source("workflow", run.url, None, age)
        words |= {"days": round(age)}
        if run.conclusion != "success":
            return Answer("false", "job_red", (source, proof), values=words)
        if age > OUTDATED:
            return Answer("false", "job_outdated", (source, proof), values=words)
        if job.provider == "GitHub Actions" and (job.conditional or step.conditional):
            done = self.steps(run)
            if done is None:
                return Answer("not_available", "job_unknown", (source, proof), values=words)
            if "skipped" in (done.get((job.title, "")), done.get((job.title, step.name))):
                return Answer("false", "job_skipped", (source, proof), values=words)
        return Answer("true", "job_green", (source, proof), automatic=True, values=words)

    def steps(self, run: Run) -> dict[tuple[str, str], str] | None:
        """What came of each step of a run, by the names of the job and the step; None without access."""
        if run.url not in self._steps:
            self._steps[run.url] = systems.steps(self.repository.remote, run)
        return self._steps[run.url]

    @cached_property
    def _steps(self) -> dict[str, dict[tuple[str, str], str] | None]:
        return {}

    def history(self, path: str) -> list[tuple[str, float]]:
        """The commits that changed a file, newest first, each with its time (Unix seconds)."""
        return self._log(self.repository.commit, "--", path)

    @cached_property
    def retrained(self) -> list[tuple[str, float]]:
        """The commits that `retrain` made, merged or proposed, newest first, each with its time (Unix seconds)."""
        proposed = ("--branches=retrain/*", "--remotes=*/retrain/*")
        return self._log(f"--grep=^{RETRAIN_MARK}", self.repository.commit, *proposed, "--")

    def _log(self, *arguments: str) -> list[tuple[str, float]]:
        if not self.repository.commit:
            return []
        try:
            log = self.repository.git("log", "--format=%H %ct", "--max-count=200", *arguments)
        except StoreError:
            return []
        return [(line.split()[0], float(line.split()[1])) for line in log.splitlines() if line]

    def recent(self, found: list[tuple[str, float]]) -> list[Source]:
        """The commits of a list that are not outdated, as sources."""
        aged = [(commit, self.repository.days(seconds)) for commit, seconds in found]
        return [Source("commit", commit, None, age) for commit, age in aged if age <= OUTDATED]

    @cached_property
    def runs_pipeline(self) -> bool:
        """Whether a system runs the pipeline: a workflow at a host that is not known to be red, or `retrain`."""
        found = self.workflows.doing("pipeline", "retrain")
        judged = bool(found) and self.judged(found).case in ("job_green", "job_unknown")
        return judged or bool(self.own and self.recent(self.retrained))


def audit_log(name: str) -> str:
    """The name of the registered model that holds the audit log (as `registry.audit.log_of`, which imports more)."""
    return f"{name}.audit"


def _moment(text: Any) -> float | None:
    """A time as ISO 8601 in Unix seconds; None if it is none."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _entries(lines: Iterable[str]) -> list[dict[str, Any]]:
    """The entries in these texts; what is none is left out."""
    found = []
    for line in lines:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and isinstance(entry.get("action"), str):
            found.append(entry)
    return found


def _read(repository: Repository, path: str, kind: type[dict[str, Any]]) -> dict[str, Any]:
    text = repository.text(path)
    if text is None:
        return {}
    try:
        found = documents.from_json(text) if path.endswith(".json") else documents.from_yaml(text)
    except UnreadableError:
        return {}
    return found if isinstance(found, kind) else {}
