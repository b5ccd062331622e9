"""Ask every predicate about a repository."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from mlops.assessment.evidence import answers, data, deployment, model, monitoring, systems
from mlops.assessment.evidence.answers import Answer
from mlops.assessment.evidence.code import Code
from mlops.assessment.evidence.facts import Facts, Own
from mlops.assessment.evidence.pipelines import Pipelines
from mlops.assessment.evidence.repository import Repository, opened
from mlops.assessment.evidence.workflows import Workflows
from mlops.assessment.finding import Finding

AREAS = (data, model, deployment, monitoring)
# Small files that a predicate may ask for are read at once, before the code.
CONFIGURATION = (".yml", ".yaml", ".toml", ".cfg", ".lock", ".dvc", ".sh", ".jsonl", "config", "file", "VERSION")
REPORTS = ("reports/", "requirements")
MOST_CONFIGURATION = 3_000  # files


def gather(repository: Path, now: datetime) -> list[Finding]:
    """What the last commit of the repository that a folder is in, and its systems, say of each criterion.

    `now` (with a time zone) is what ages are counted to.

    Raises:
        StoreError: there is no Git repository, or it cannot be read.
    """
    return findings(facts_of(opened(repository, now)))


def facts_of(repository: Repository) -> Facts:
    """All that the predicates look at."""
    projects = _projects(repository)
    folder = _chosen(projects, repository.asked)
    pipelines = Pipelines(repository, folder or "")
    own = None if folder is None else Own(repository, pipelines, folder)
    pool = ThreadPoolExecutor(1)  # the host is asked while files are read
    asked = pool.submit(systems.runs, repository.remote)
    pool.shutdown(wait=False)
    # A job at the root may serve this project, but not one that works in the folder of another one.
    others = frozenset(one for one in projects if own and one and not f"{folder}/".startswith(f"{one}/"))
    workflows = Workflows(repository, others)
    inside = f"{folder}/" if folder else ""
    code = Code(repository, lambda: workflows.scripts | pipelines.scripts, own.at("mlops/") if own else "", inside)
    return Facts(repository, code, workflows, pipelines, own, asked)


def findings(facts: Facts) -> list[Finding]:
    """The finding of each predicate, those of an area together."""
    repository = facts.repository
    wanted = [
        path for path in repository.files if path.endswith(CONFIGURATION) or any(part in path for part in REPORTS)
    ]
    list(repository.read(wanted[:MOST_CONFIGURATION]))
    found: list[Finding] = []
    try:
        for area in AREAS:
            given = {
                predicate: answers.finding(predicate.__name__, _ask(predicate, facts), criteria)
                for predicate, criteria in area.PREDICATES.items()
            }
            found += given.values()
            for name, (predicate, criterion) in area.OPPOSITES.items():
                found.append(answers.opposite(given[predicate], name, criterion))
    finally:
        repository.close()
    return found


def _ask(predicate: Callable[[Facts], Answer], facts: Facts) -> Answer:
    """The answer of a predicate; what it cannot cope with in a stranger's repository is its own outcome."""
    try:
        return predicate(facts)
    except Exception as error:
        return Answer("error", "failed", values={"reason": f"{type(error).__name__}: {error}"})


def _projects(repository: Repository) -> list[str]:
    """The folders of the projects that this template generated, those nearest to the root first."""
    needed = ("mlops/VERSION", "mlops/__main__.py", "dvc.yaml", "params.yaml")
    folders = [path.removesuffix("mlops/VERSION").rstrip("/") for path in repository.named("VERSION")]
    return [one for one in folders if all(f"{one}/{name}".lstrip("/") in repository.files for name in needed)]


def _chosen(projects: list[str], asked: str) -> str | None:
    """The project that the folder asked about is in, else the first one below it, else the first one; None if none."""
    around = [one for one in projects if not one or f"{asked}/".startswith(f"{one}/")]
    below = [one for one in projects if one.startswith(f"{asked}/" if asked else "")]
    return next(iter([*reversed(around), *below, *projects]), None)
