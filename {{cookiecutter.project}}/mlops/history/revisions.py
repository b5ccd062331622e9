"""Files and results of any commit, branch, tag or DVC experiment, read without checking it out."""

import io
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops.base import files, params, yaml
from mlops.base.errors import SchemaError, StoreError
from mlops.data.schema import Schema
from mlops.history import cache, dvc, git, paths, provenance
from mlops.intake import tables

if TYPE_CHECKING:
    import pandas as pd

    from mlops.data.profile import Profile
    from mlops.evaluation.comparison import Pairs
    from mlops.training.metrics import Predictions

WORK_TREE = "work tree"
HASH = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")  # of a commit: SHA-1 or SHA-256
# Usual names of the main branch, those of the remote first: a local branch may be out of date.
MAIN = ("origin/HEAD", "origin/main", "origin/master", "main", "master")
# The command names all branches, because a shallow clone follows a single one.
SHALLOW = (
    "this clone has a part of the history only: `git fetch --unshallow --tags origin "
    '"+refs/heads/*:refs/remotes/origin/*"` brings all of it'
)


class Report(dict[str, Any]):
    """A JSON object of a report. To read a missing key is a StoreError: an older pipeline made the report."""

    def __init__(self, pairs: Mapping[str, Any], name: str) -> None:
        super().__init__(pairs)
        self.name = name

    def __missing__(self, key: str) -> Any:
        raise _older(self.name, key)


@dataclass(frozen=True)
class Revision:
    """A state of the project: a commit under the name that was asked for, or the work tree (`commit` is empty)."""

    name: str
    commit: str

    @property
    def short(self) -> str:
        """The name of the revision in a report."""
        same = not self.commit or self.commit.startswith(self.name) or self.name == "HEAD"
        return (self.commit[:8] or WORK_TREE) if same else f"{self.name} ({self.commit[:8]})"

    def text(self, path: Path) -> str | None:
        """The text of a file in Git; None if there is no such file."""
        if self.commit:
            content = git.run("show", "--end-of-options", f"{self.commit}:./{path.as_posix()}", default="\0")
            return None if content == "\0" else content
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def yaml(self, path: Path) -> Any:
        """The content of a YAML file.

        Raises:
            StoreError: the file is missing or no YAML.
        """
        return yaml.parsed(self._text(path), f"{path} of {self.short}")

    def json(self, path: Path) -> Any:
        """The content of a JSON report.

        Raises:
            StoreError: the report is missing or no JSON; also later, when a key is read that the report lacks.
        """
        name = f"{path} of {self.short}"
        try:
            return json.loads(self._text(path), object_hook=lambda pairs: Report(pairs, name))
        except ValueError as error:
            raise StoreError(f"{name} is no JSON ({error}): run `dvc repro` there") from None

    def schema(self) -> Schema:
        """The schema of a valid row.

        Raises:
            SchemaError: the schema contradicts itself or has an unknown name.
            StoreError: there is no schema.
        """
        return yaml.validate(Schema, self.yaml(paths.SCHEMA), f"{paths.SCHEMA} of {self.short}", SchemaError)

    def csv(self, path: Path, text: Collection[str] = ()) -> "pd.DataFrame":
        """A small table that a stage wrote, read by the rules of `files.read_csv`.

        Raises:
            StoreError: the table is missing or no CSV.
        """
        return files.read_csv(io.StringIO(self._text(path)), text, f"{path} of {self.short}")

    @cached_property
    def stages(self) -> dict[str, Any]:
        """The entry of each stage in dvc.lock; empty without a dvc.lock.

        Raises:
            StoreError: DVC was killed while it wrote the file.
        """
        text = self.text(paths.LOCK)
        return {} if text is None else _stages(text, f"{paths.LOCK} of {self.short}")

    @cached_property
    def digests(self) -> dict[str, str]:
        """The MD5 of every dependency and output in dvc.lock, by path, in the order of the stages."""
        return _digests(self.stages)

    def kept(self, path: Path) -> Path:
        """The path of a DVC-tracked file in DVC's cache; the file is fetched from the remote if the cache lacks it.

        Raises:
            StoreError: this revision has no such file, or the file cannot be fetched.
        """
        digest = self.digests.get(path.as_posix())
        if digest is None:
            raise StoreError(f"{self.short} has no {path} in its dvc.lock: run `dvc repro` there, and commit it")
        cache.fetch([digest], f"{path} of {self.short}")
        return cache.path_of(digest)

    @property
    def headline(self) -> str:
        """The headline metric of the folds, as the stage `train` found it.

        Raises:
            StoreError: the report is missing.
        """
        report = self.json(paths.TRAINING)
        older = "accuracy" if report["task"] == "classification" else "r2"  # the choice of an older pipeline
        return str(report.get("headline", {}).get("metric", older))

    def predictions(self) -> tuple["pd.DataFrame", "Predictions"]:
        """The predictions on the test split (n rows): the table that DVC keeps, and the `Predictions` to score.

        Raises:
            StoreError: the table cannot be fetched, or an older pipeline made it.
        """
        from mlops.evaluation import results

        table, report = tables.read(self.kept(paths.PREDICTIONS)), self.json(paths.EVALUATION)
        if missing := {"row", "actual", "prediction"}.difference(table):
            raise _older(f"{paths.PREDICTIONS} of {self.short}", min(missing))
        return table, results.from_frame(table, report["labels"], report["positive"])

    def profile(self) -> "Profile":
        """The profile of the training split.

        Raises:
            StoreError: the profile cannot be fetched, or an older pipeline made it.
        """
        from mlops.data import profile

        try:
            return profile.from_frame(tables.read(self.kept(paths.REFERENCE)))
        except KeyError as error:
            raise _older(f"{paths.REFERENCE} of {self.short}", error.args[0]) from None

    def data(self, folder: str) -> str:
        """DVC's digest of a folder of data, from the .dvc file beside the folder; "" if there is none.

        Raises:
            StoreError: DVC was killed while it wrote the file.
        """
        text, name = self.text(Path(f"{folder}.dvc")), f"{folder}.dvc of {self.short}"
        try:
            out = yaml.parsed(text, name)["outs"][0] if text is not None else {"md5": "", "path": ""}
            return str(out["path"] and out["md5"])  # the path comes last
        except (StoreError, TypeError, KeyError, IndexError):
            raise _cut_off(name) from None

    def stale(self) -> list[str]:
        """The stages of the work tree whose code, parameters or command changed since their results were made."""
        settings, pipeline = self.yaml(params.FILE), self.yaml(paths.PIPELINE)["stages"]
        stale = []
        for name, stage in pipeline.items():
            entry = self.stages.get(name, {})
            digests = _digests({name: {"deps": entry.get("deps", [])}})
            # Data need not be in the work tree.
            deps = [path for path in stage.get("deps", []) if paths.is_code(path) or Path(path).is_file()]
            flat = {**params.flat(settings), **settings}  # a stage may declare one parameter of a section
            sections = {name: flat.get(name) for name in stage.get("params", [])}
            if (
                entry.get("cmd") != stage["cmd"]
                or entry.get("params", {}).get(params.FILE.name, {}) != sections
                or any(digests.get(path) != cache.md5(Path(path)) for path in deps)
            ):
                stale.append(name)
        return stale

    def _text(self, path: Path) -> str:
        text = self.text(path)
        if text is None:
            raise StoreError(f"{self.short} has no {path}: run `dvc repro` there, and commit what it writes")
        return text


def locked(text: str) -> dict[str, str]:
    """The MD5 of every dependency and output in the text of a dvc.lock, by path, in the order of the stages."""
    return _digests(_stages(text, str(paths.LOCK)))


def _stages(text: str, name: str) -> dict[str, Any]:
    try:
        stages = dict(yaml.parsed(text, name)["stages"])
        _digests(stages)
    except (StoreError, TypeError, KeyError, ValueError, AttributeError):
        raise _cut_off(name) from None
    return stages


def _cut_off(name: str) -> StoreError:
    return StoreError(f"{name} ends too early, or is in conflict: {dvc.REPAIR}")


def _digests(stages: Mapping[str, Any]) -> dict[str, str]:
    # Outputs last: where a run was stopped, a later stage still names the dependency as it was.
    entries = [entry for side in ("deps", "outs") for stage in stages.values() for entry in stage.get(side, [])]
    return {entry["path"]: entry["md5"] for entry in entries if "md5" in entry}  # a URL has an etag instead


def paired_predictions(one: Revision, other: Revision) -> "tuple[Pairs, tuple[Predictions, Predictions]]":
    """The positions of the m test rows that two revisions share, and both predictions on these rows.

    Raises:
        StoreError: the predictions cannot be fetched, have different classes, or share no row.
    """
    from mlops.evaluation import comparison

    (table, first), (other_table, second) = one.predictions(), other.predictions()
    if first.classes != second.classes:
        raise StoreError("the two versions predict other classes, so rows cannot be compared")
    pairs = comparison.shared_rows(table["row"].to_numpy(), other_table["row"].to_numpy())
    if not len(pairs.one):
        raise StoreError("the two test splits share no row, so there is no interval of the difference")
    return pairs, comparison.on_the_same_rows(first, second, pairs)


def _older(name: str, key: str) -> StoreError:
    return StoreError(f"{name} has no {key}, it was made by an older pipeline: run `dvc repro` there")


def find(name: str) -> Revision:
    """The revision of a commit, branch, tag or experiment; "" is the work tree.

    Raises:
        StoreError: nothing has this name, or several experiments have it.
    """
    if name in ("", WORK_TREE):
        return Revision(WORK_TREE, "")
    if commit := _commit(name) or _commit(f"origin/{name}"):
        return Revision(name, commit)
    commits = {commit for experiment, commit in _experiments() if experiment == name}
    if len(commits) > 1:
        commits = {experiment.commit for experiment in experiments() if experiment.name == name} or commits
    if len(commits) == 1:
        return Revision(name, commits.pop())
    if commits:
        raise StoreError(
            f"several experiments are called {name}: give the commit of one (see `dvc exp list --all-commits`)"
        )
    hint = SHALLOW if is_shallow() else "see `git log`, `git branch --all` and `dvc exp list`"
    raise StoreError(f"{name} is no commit, branch, tag or experiment of this repository: {hint}")


@dataclass(frozen=True)
class Commit:
    """A commit and its author, as `Name <address>`."""

    digest: str
    author: str


def commits_of(digests: Mapping[str, str], *, passed: bool) -> list[Commit]:
    """The commits of branches and tags that brought a result, the oldest first; none if it is not committed here.

    `digests` are the SHA-256 of its model, data and params; commits with its params are preferred. A later commit that
    only keeps the result is not among them: who made it is not the author of the result. With `passed`, those are left
    out in which the gate refused the same model: no version comes of them.
    """
    everywhere = ("HEAD", "--branches", "--remotes", "--tags")
    files = (paths.REGISTRATION.as_posix(), params.FILE.as_posix())
    form = ("--reverse", "--full-history", "--format=%H%x1f%an <%ae>%x1f%P")
    lines = [line.split("\x1f") for line in git.run("log", *form, *everywhere, "--", *files, default="").splitlines()]

    def bringing(wanted: Mapping[str, str]) -> list[Commit]:
        def holds(commit: str) -> bool:
            return _holds(Revision(commit, commit), wanted, passed=passed)

        found = ((digest, author, parents.split()) for digest, author, parents in lines if holds(digest))
        return [Commit(digest, author) for digest, author, parents in found if not any(map(holds, parents))]

    # A version may have been made before a parameter was changed that does not change the model.
    return bringing(digests) or bringing({**digests, "params": ""})


def of_result(tags: Mapping[str, str]) -> Revision:
    """The commit that holds the result of a version whose tags name its model, data and params (SHA-256).

    The commit that the tags name is read first, then the history, then the experiments.

    Raises:
        StoreError: no commit of this clone has the result.
    """
    digests = {kind: tags.get(f"{kind}_digest", "") for kind in ("model", "data", "params")}
    named = tags.get("commit", "")
    # Who may write a tag may write anything into it.
    if HASH.fullmatch(named) and _holds(Revision(named, named), digests, passed=True):
        return Revision(named, named)
    for commit in commits_of(digests, passed=True):
        return Revision(commit.digest, commit.digest)
    for _, trial in _experiments():
        if _holds(Revision(trial, trial), digests, passed=True):
            return Revision(trial, trial)
    hint = SHALLOW if is_shallow() else "commit it where it was made, or fetch the branch that has it"
    raise StoreError(f"no commit here has the model {digests['model'][:12]} with its data and parameters: {hint}")


def _holds(revision: Revision, digests: Mapping[str, str], *, passed: bool) -> bool:
    """Whether a commit has the result with these digests, and with `passed` no gate that refused it.

    A report that is damaged holds nothing.
    """
    text = revision.text(paths.REGISTRATION) or ""
    if digests["model"] not in text or digests["data"] not in text:
        return False
    try:
        report, settings = revision.json(paths.REGISTRATION), revision.yaml(params.FILE)
        if (report["model_digest"], report["data_digest"]) != (digests["model"], digests["data"]):
            return False
        if passed and report.get("passed") is False:
            return False
        found = provenance.digest(params.recorded_of(settings))
        return digests["params"] in ("", found)
    except (StoreError, AttributeError, TypeError):  # such as merge marks that were committed
        return False


def experiments() -> list[Revision]:
    """The experiments that started from the commit that is checked out, sorted by name."""
    head = git.run("rev-parse", "HEAD").strip()
    return [Revision(name, commit) for name, commit in _experiments(head)]


def merge_base() -> Revision:
    """The commit where the checked-out branch left the main branch; on the main branch, the last commit.

    Raises:
        StoreError: this clone has too little history; the sentence names the command that fetches it.
    """
    main = next((name for name in MAIN if _commit(name)), None)
    base = git.run("merge-base", "HEAD", main, default="").strip() if main else ""
    if base:
        return Revision(base, base)
    if is_shallow():
        raise StoreError(SHALLOW)
    raise StoreError(
        "there is no main branch to compare with: name what to compare with (`python -m mlops review HEAD~1`)"
    )


def changed_files(before: Revision, now: Revision, patterns: Sequence[str]) -> list[tuple[str, int, int]]:
    """The files that differ, by Git's path patterns: path, lines added, lines removed.

    In the work tree, a file that Git neither tracks nor ignores counts as added.
    """
    globs = [f":(glob)**/{pattern}" for pattern in patterns]
    commits = [before.commit, *([now.commit] if now.commit else [])]
    diff = git.run("diff", "--numstat", "--no-renames", "-z", "--relative", "--end-of-options", *commits, "--", *globs)
    changes = []
    for line in diff.split("\0")[:-1]:
        added, removed, path = line.split("\t", 2)  # a binary file has - instead of numbers
        changes.append((path, int(added) if added.isdigit() else 0, int(removed) if removed.isdigit() else 0))
    if not now.commit:
        new = git.run("ls-files", "--others", "--exclude-standard", "-z", "--", *globs).split("\0")[:-1]
        changes += [(path, len(Path(path).read_bytes().splitlines()), 0) for path in new]
    return sorted(changes)


def is_shallow() -> bool:
    """Whether this clone lacks a part of the history."""
    return git.run("rev-parse", "--is-shallow-repository", default="").strip() == "true"


def _commit(name: str) -> str:
    return git.run("rev-parse", "--verify", "--quiet", "--end-of-options", name + "^{commit}", default="").strip()


def _experiments(baseline: str = "") -> list[tuple[str, str]]:
    """Name and commit of the experiments of a baseline commit, or of all experiments."""
    where = f"refs/exps/{baseline[:2]}/{baseline[2:]}/" if baseline else "refs/exps/"
    lines = git.run("for-each-ref", "--format=%(refname) %(objectname)", where).splitlines()
    refs = (line.split() for line in lines)
    # An experiment is refs/exps/ab/cdef…/name; refs such as refs/exps/exec/… are internal to DVC.
    return [(parts[4], commit) for ref, commit in refs if len(parts := ref.split("/", 4)) == 5 and len(parts[2]) == 2]
