"""What continuous integration really starts, when, and what came of it: GitHub Actions and GitLab CI, parsed.

A job counts by its commands, those of the scripts, targets of make, local actions and reusable workflows that it calls
among them. What is switched off, commented out, only echoed, or may fail without anybody noticing is not done.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from mlops.assessment.evidence import documents
from mlops.assessment.evidence.commands import ONLY_TASKS, Command, commands
from mlops.assessment.evidence.documents import UnreadableError
from mlops.assessment.evidence.repository import Repository
from mlops.assessment.evidence.running import entries, file_of, run_by
from mlops.assessment.evidence.tasks import Tasks

# Other providers: their files are seen, and not judged.
OTHERS: tuple[str, ...] = (
    "Jenkinsfile",
    "azure-pipelines.yml",
    ".travis.yml",
    ".drone.yml",
    "bitbucket-pipelines.yml",
    "buildspec.yml",
)
OTHERS += (".circleci/config.yml", ".buildkite/pipeline.yml", "cloudbuild.yaml", ".woodpecker.yml", "appveyor.yml")
GITLAB_WORDS = {"default", "include", "stages", "variables", "workflow", "image", "services", "cache", "before_script"}
GITLAB_WORDS |= {"after_script", "pages:deploy", "spec"}
CODE_CHANGES = frozenset({"push", "pull_request", "pull_request_target", "merge_group", "merge_request_event"})
EVENT = re.compile(r"github\.event(?:_name|\.workflow_run\.event)\s*==\s*'(\w+)'")
DEEPEST = 5  # scripts that call scripts
MOST_STEPS = 5_000  # of all jobs; scripts that call each other would never end
# Actions that do what a command would.
ACTIONS = {
    "docker/build-push-action": "docker push",
    "azure/k8s-deploy": "kubectl apply",
    "azure/webapps-deploy": "az webapp deploy",
    "google-github-actions/deploy-cloudrun": "gcloud run deploy",
    "aws-actions/amazon-ecs-deploy-task-definition": "aws ecs update-service",
    "superfly/flyctl-actions": "flyctl deploy",
    "pypa/gh-action-pypi-publish": "",
}


@dataclass(frozen=True)
class Step:
    """A command that a job runs, and the file and line that start it.

    `name` is that of the step in a run; `conditional` says that the step can be skipped in a run that is green.
    """

    command: Command
    path: str
    line: int
    name: str = ""
    conditional: bool = False

    @property
    def deed(self) -> str:
        """What it does (see `commands.DEEDS`)."""
        return self.command.deed


@dataclass(frozen=True)
class Job:
    """A job: its names, when it starts, what it runs, and the variable of the host that switches it on ("" if none)."""

    provider: str
    path: str
    line: int
    workflow: str
    name: str
    triggers: frozenset[str]
    steps: tuple[Step, ...]
    environment: str = ""
    switch: str = ""
    by_hand: bool = False  # of GitLab: somebody has to press a button
    title: str = ""  # the name that a run shows
    conditional: bool = False  # of GitHub: it can be skipped in a run that is green

    @property
    def on_change(self) -> bool:
        """Whether a change of code starts it."""
        return bool(self.triggers & CODE_CHANGES) and not self.by_hand

    @property
    def on_schedule(self) -> bool:
        """Whether time starts it."""
        return "schedule" in self.triggers and not self.by_hand

    @property
    def on_request(self) -> bool:
        """Whether a person can start it."""
        return "workflow_dispatch" in self.triggers or self.by_hand

    def doing(self, *deeds: str) -> list[Step]:
        """The steps that do one of these things, and whose failure is noticed."""
        return [step for step in self.steps if step.deed in deeds and not step.command.tolerated]


@dataclass
class Workflows:
    """All jobs of a repository, the files of providers that are not supported, and those that cannot be read."""

    repository: Repository
    elsewhere: frozenset[str] = frozenset()  # folders of other projects: what works in there is not of this one
    _steps_left: int = MOST_STEPS

    @cached_property
    def jobs(self) -> list[Job]:
        """Every job of GitHub Actions and GitLab CI that is not switched off."""
        return [*self._github(), *self._gitlab()]

    @cached_property
    def unsupported(self) -> list[str]:
        """Files of other providers."""
        return [path for path in OTHERS if path in self.repository.files]

    @cached_property
    def unreadable(self) -> dict[str, str]:
        """Workflows that are no YAML, and why."""
        _ = self.jobs
        return self._unreadable

    @cached_property
    def foreign(self) -> list[tuple[str, int, str]]:
        """Workflows of other repositories that one of here starts: the path and line, and what it names."""
        _ = self.jobs
        return self._foreign

    @cached_property
    def _foreign(self) -> list[tuple[str, int, str]]:
        return []

    @cached_property
    def _unreadable(self) -> dict[str, str]:
        return {}

    def doing(self, *deeds: str) -> list[tuple[Job, Step]]:
        """The first step of every job that does one of these things."""
        return [(job, steps[0]) for job in self.jobs if (steps := job.doing(*deeds))]

    @cached_property
    def scripts(self) -> set[str]:
        """The files of the repository that any job runs."""
        installed = entries(self.repository)
        found = (run_by(self.repository, step.command, installed) for job in self.jobs for step in job.steps)
        return {path for path in found if path}

    def _parsed(self, path: str) -> Any:
        try:
            return documents.from_yaml(self.repository.text(path) or "")
        except UnreadableError as error:
            self._unreadable[path] = str(error)
            return None

    def _github(self) -> Iterator[Job]:
        paths = [path for path in self.repository.below(".github/workflows") if path.endswith((".yml", ".yaml"))]
        contents = {path: content for path in paths if isinstance(content := self._parsed(path), dict)}
        callers: dict[str, set[str]] = {}  # by the path or the name of what they start: their triggers
        for path, content in contents.items():
            callers.setdefault(f"after {content.get('name') or path}", set()).update(_triggers(content))
            for job in _mapping(content.get("jobs")).values():
                used = str(_mapping(job).get("uses", ""))
                callers.setdefault(used.removeprefix("./"), set()).update(_triggers(content))
        for path, content in contents.items():
            triggers = _triggers(content)
            if "workflow_call" in triggers:
                triggers |= callers.get(path, set())
            for before in _scripts(_mapping(_mapping(content.get("on")).get("workflow_run")).get("workflows")):
                triggers |= callers.get(f"after {before}", set())
            name = str(content.get("name") or path)
            for key, raw in _mapping(content.get("jobs")).items():
                job = _mapping(raw)
                places = (_folder(content), _folder(job))
                conditions = list(_conditions(key, _mapping(content.get("jobs"))))
                if any(map(_is_never, conditions)):
                    continue
                environment, reused = job.get("environment", ""), job.get("uses")
                if isinstance(reused, str) and not reused.startswith("./"):
                    self._foreign.append((path, getattr(reused, "line", 1), reused))
                yield Job(
                    "GitHub Actions",
                    path,
                    getattr(key, "line", 1),
                    name,
                    str(key),
                    frozenset(_narrowed(triggers, conditions)),
                    tuple(
                        self._steps(
                            path,
                            job.get("steps"),
                            tolerated=job.get("continue-on-error") is True,
                            place=places[1] or places[0],
                        )
                    ),
                    str(_mapping(environment).get("name", "") if isinstance(environment, dict) else environment),
                    next(iter(re.findall(r"\bvars\.(\w+)", " ".join(conditions))), ""),
                    title=str(job.get("name") or key),
                    conditional=any(conditions),
                )

    def _steps(
        self, path: str, raw: Any, depth: int = 0, *, tolerated: bool = False, place: str = ""
    ) -> Iterator[Step]:
        for each in raw if isinstance(raw, list) else []:
            self._steps_left -= 1
            if self._steps_left < 0:
                return
            step = _mapping(each)
            if _is_never(f"{step.get('if', '')}") or self._is_elsewhere(str(step.get("working-directory") or place)):
                continue
            may_fail = tolerated or step.get("continue-on-error") is True
            if isinstance(step.get("run"), str):
                first = next(iter(step["run"].strip().splitlines()), "")
                name = str(step.get("name") or f"Run {first}")
                for found in self._commands(path, step["run"], depth):
                    kept = replace(found.command, tolerated=True) if may_fail else found.command
                    yield replace(found, command=kept, name=name, conditional="if" in step)
            uses = step.get("uses")
            if isinstance(uses, str) and uses.startswith("./") and depth < DEEPEST:
                folder = uses.removeprefix("./").rstrip("/")
                for name in ("action.yml", "action.yaml"):
                    action = f"{folder}/{name}" if folder else name
                    if action in self.repository.files:
                        runs = _mapping(_mapping(self._parsed(action)).get("runs"))
                        for found in self._steps(action, runs.get("steps"), depth + 1, tolerated=may_fail):
                            yield replace(found, path=path, line=getattr(uses, "line", 1))
            elif isinstance(uses, str) and (does := ACTIONS.get(uses.partition("@")[0])):
                if "docker/build-push" in uses and _mapping(step.get("with")).get("push") in (None, False):
                    continue
                line = getattr(uses, "line", 1)
                yield Step(Command(tuple(does.split()), line, may_fail), path, line)

    def _is_elsewhere(self, folder: str) -> bool:
        inside = f"{PurePosixPath(folder)}/"
        return any(inside.startswith(f"{one}/") for one in self.elsewhere)

    def _commands(self, path: str, script: str, depth: int = 0, runner: str = "") -> Iterator[Step]:
        """The commands of a script, and those of the scripts and tasks that they call, at the line of the caller.

        `runner` is that of the task whose commands these are: they may name other tasks of it.
        """
        for found in commands(script, getattr(script, "line", 1)):
            self._steps_left -= 1
            if self._steps_left < 0:
                return
            command = found if found.runner or not self._names(runner, found) else replace(found, runner=runner)
            called = self._task(path, command, tell=depth == 0)
            if called is None or command.runner in ("make", "just", "task"):
                yield Step(command, path, command.line)
            if depth < DEEPEST:
                inner = self._script(command) if called is None else called
                for step in self._commands(path, inner, depth + 1, "" if called is None else command.runner):
                    kept = replace(step.command, tolerated=step.command.tolerated or command.tolerated)
                    yield Step(kept, path, command.line)

    def _names(self, runner: str, command: Command) -> bool:
        return bool(runner) and self._tasks.commands(runner, command.words[0]) is not None

    def _script(self, command: Command) -> str:
        """The script of a shell that a command runs; "" if it runs none."""
        script = file_of(self.repository, command.script)
        return "" if not script or script.endswith((".py", ".ipynb")) else self.repository.text(script) or ""

    def _task(self, path: str, command: Command, *, tell: bool) -> str | None:
        """The commands of the tasks that a command names; None if it names none. What cannot be found is told."""
        if not command.tasks or command.script:
            return None
        found = [self._tasks.commands(command.runner, name, command.folder) for name in command.tasks]
        known = [one for one in found if one is not None]
        is_task = command.runner in ONLY_TASKS or not self._tasks.defined(command.runner)
        if tell and is_task and not command.deed and len(known) < len(found):
            self._unresolved.append((path, command.line, f"{command.runner} {' '.join(command.tasks)}".strip()))
        return "\n".join(known) if known else None

    @cached_property
    def _tasks(self) -> Tasks:
        return Tasks(self.repository)

    @cached_property
    def _unresolved(self) -> list[tuple[str, int, str]]:
        return []

    @property
    def unresolved(self) -> list[tuple[str, int, str]]:
        """Tasks that a workflow runs and whose definition is not found: the path and line, and what it names."""
        _ = self.jobs
        return self._unresolved

    def _gitlab(self) -> Iterator[Job]:
        path = ".gitlab-ci.yml"
        if path not in self.repository.files:
            return
        content, homes = self._included(path, set())
        for key, raw in content.items():
            if key in GITLAB_WORDS or str(key).startswith(".") or not isinstance(raw, dict):
                continue
            job = self._extended(raw, content, set())
            raw_rules = job.get("rules")
            rules = [rule for rule in raw_rules if isinstance(rule, dict)] if isinstance(raw_rules, list) else []
            if (job.get("when") == "never") or (rules and all(rule.get("when") == "never" for rule in rules)):
                continue
            home = homes.get(str(key), path)
            steps = [
                step
                for part in ("before_script", "script")
                for one in _scripts(job.get(part, content.get(part) if part == "before_script" else None))
                for step in self._commands(home, one)
            ]
            if job.get("allow_failure") is True:
                steps = [replace(step, command=replace(step.command, tolerated=True)) for step in steps]
            environment = job.get("environment", "")
            yield Job(
                "GitLab CI",
                home,
                getattr(key, "line", 1),
                str(key),
                str(key),
                _gitlab_triggers(job, rules),
                tuple(steps),
                str(_mapping(environment).get("name", "") if isinstance(environment, dict) else environment),
                by_hand=job.get("when") == "manual" or (bool(rules) and all(r.get("when") == "manual" for r in rules)),
            )

    def _included(self, path: str, seen: set[str]) -> tuple[dict[Any, Any], dict[str, str]]:
        """The content of a file and of the local ones that it includes, and the file that each job comes from."""
        seen.add(path)
        own = _mapping(self._parsed(path))
        content: dict[Any, Any] = {}
        homes: dict[str, str] = {}
        included = own.get("include", [])
        for one in included if isinstance(included, list) else [included]:
            local = one if isinstance(one, str) else _mapping(one).get("local")
            name = local.lstrip("/") if isinstance(local, str) else ""
            for kind in ("project", "remote", "component"):
                if what := _mapping(one).get(kind):
                    self._foreign.append((path, getattr(what, "line", 1), str(what)))
            if name.startswith(("http://", "https://")):
                self._foreign.append((path, getattr(local, "line", 1), name))
            if name in self.repository.files and name not in seen:
                more, where = self._included(name, seen)
                content |= more
                homes |= where
        return content | own, homes | {str(key): path for key in own}

    def _extended(self, job: Mapping[Any, Any], content: Mapping[Any, Any], seen: set[str]) -> dict[Any, Any]:
        parents = job.get("extends", [])
        found: dict[Any, Any] = {}
        for name in parents if isinstance(parents, list) else [parents]:
            if isinstance(name, str) and name not in seen and isinstance(parent := content.get(name), dict):
                seen.add(name)
                found |= self._extended(parent, content, seen)
        return found | dict(job)


def _mapping(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _folder(raw: Mapping[Any, Any]) -> str:
    """The folder that the steps of a workflow or a job work in; "" if it says none."""
    return str(_mapping(_mapping(raw.get("defaults")).get("run")).get("working-directory") or "")


def _triggers(content: Mapping[Any, Any]) -> set[str]:
    raw = content.get("on")
    found = {str(one) for one in (raw if isinstance(raw, list | dict) else [raw])}
    push = _mapping(_mapping(raw).get("push"))
    if "tags" in push and "branches" not in push:  # somebody sets a tag: that is no change of code
        found = found - {"push"} | {"tag"}
    return found


def _conditions(name: str, jobs: Mapping[Any, Any]) -> Iterator[str]:
    """The condition of a job, and those of the jobs that it needs."""
    seen, waiting = set(), [name]
    while waiting:
        if (name := waiting.pop()) not in seen:
            seen.add(name)
            job = _mapping(jobs.get(name))
            yield f"{job.get('if', '')}"
            waiting += _scripts(job.get("needs"))


def _narrowed(triggers: set[str], conditions: Iterable[str]) -> set[str]:
    """The triggers that conditions let through, of those whose every alternative names one."""
    for condition in conditions:
        parts = [EVENT.findall(part) for part in condition.split("||")]
        if all(parts):
            triggers = triggers & {name for part in parts for name in part}
    return triggers


def _is_never(condition: str) -> bool:
    inner = re.sub(r"^\$\{\{|\}\}$", "", condition.strip()).strip()  # GitHub's braces
    return inner.lower() == "false" or bool(re.fullmatch(r"false\s*&&.*", inner, re.I))


def _scripts(raw: Any) -> Iterable[str]:
    if isinstance(raw, str):
        yield raw
    for one in raw if isinstance(raw, list) else []:
        yield from _scripts(one)


def _gitlab_triggers(job: Mapping[Any, Any], rules: list[dict[Any, Any]]) -> frozenset[str]:
    conditions = [str(rule.get("if", "")) for rule in rules if rule.get("when") != "never"]
    only = job.get("only")
    words = {str(one) for one in only} if isinstance(only, list) else {str(only)} if isinstance(only, str) else set()
    if words:
        found = {"schedule" if word == "schedules" else "push" for word in words}
        return frozenset({"merge_request_event" if "merge_requests" in words else "push", *found})
    positive = [text for text in conditions if not re.search(r'PIPELINE_SOURCE\s*!=\s*"schedule"', text)]
    if conditions and all(re.search(r'PIPELINE_SOURCE\s*==\s*"schedule"', text) for text in conditions):
        return frozenset({"schedule"})
    if conditions and all(re.search(r'PIPELINE_SOURCE\s*==\s*"web"', text) for text in conditions):
        return frozenset({"workflow_dispatch"})
    found = {"push", "merge_request_event"}
    if any(re.search(r'PIPELINE_SOURCE\s*==\s*"schedule"', text) for text in positive):
        found.add("schedule")
    return frozenset(found)
