"""Results as they were: the files of any commit, branch, tag or DVC experiment, read without checking it out."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops.base import params, yaml
from mlops.base.errors import SchemaError, StoreError
from mlops.data.schema import Schema
from mlops.history import cache, git, paths, provenance
from mlops.intake import tables

if TYPE_CHECKING:
    import pandas as pd

    from mlops.data.profile import Profile
    from mlops.training.metrics import Predictions

WORK_TREE = "work tree"
# Main branches by the names that they go by, those of the remote first: the local ones may be old.
MAIN = ("origin/HEAD", "origin/main", "origin/master", "main", "master")
# All branches by name, too: a shallow clone follows a single one.
CUT_OFF = (
    "this clone has a part of the history only: `git fetch --unshallow --tags origin "
    '"+refs/heads/*:refs/remotes/origin/*"` brings all of it'
)


@dataclass(frozen=True)
class Revision:
    """A state of the project: a commit under the name that was asked for, or the work tree (`commit` is empty)."""

    name: str
    commit: str

    @property
    def short(self) -> str:
        """What it is called in a report."""
        same = not self.commit or self.commit.startswith(self.name) or self.name == "HEAD"
        return (self.commit[:8] or WORK_TREE) if same else f"{self.name} ({self.commit[:8]})"

    def text(self, path: Path) -> str | None:
        """The text of a file that Git has; None if there is none."""
        if self.commit:
            found = git.run("show", f"{self.commit}:./{path.as_posix()}", default="\0")
            return None if found == "\0" else found
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def yaml(self, path: Path) -> Any:
        """What a YAML file says.

        Raises:
            StoreError: there is none, or it is no YAML.
        """
        return yaml.parsed(self._text(path), f"{path} of {self.short}")

    def json(self, path: Path) -> Any:
        """What a JSON report says.

        Raises:
            StoreError: there is none.
        """
        try:
            return json.loads(self._text(path))
        except ValueError as error:
            raise StoreError(f"{path} of {self.short} is no JSON ({error}): run `dvc repro` there") from None

    def schema(self) -> Schema:
        """What a valid row was.

        Raises:
            SchemaError: it contradicts itself or has an unknown name.
            StoreError: there is none.
        """
        return yaml.validate(Schema, self.yaml(paths.SCHEMA), f"{paths.SCHEMA} of {self.short}", SchemaError)

    def csv(self, path: Path, text: Sequence[str] = ()) -> "pd.DataFrame":
        """A small table that a stage wrote; its columns `text` are labels, even if they read as numbers or as missing.

        Raises:
            StoreError: there is none.
        """
        import pandas as pd

        return pd.read_csv(io.StringIO(self._text(path)), dtype=dict.fromkeys(text, str), keep_default_na=False)

    @cached_property
    def stages(self) -> dict[str, Any]:
        """What dvc.lock says of each stage; nothing where there is none."""
        text = self.text(paths.LOCK)
        return dict(yaml.parsed(text, f"{paths.LOCK} of {self.short}")["stages"]) if text else {}

    @cached_property
    def digests(self) -> dict[str, str]:
        """The MD5 of every output and dependency that dvc.lock knows, by its path, in the order of the stages."""
        return locked(self.text(paths.LOCK) or "stages: {}")

    def kept(self, path: Path) -> Path:
        """A file that DVC keeps, in its cache; fetched from the remote if it has to be.

        Raises:
            StoreError: this state has no such file, or it cannot be had.
        """
        digest = self.digests.get(path.as_posix())
        if digest is None:
            raise StoreError(f"{self.short} has no {path} in its dvc.lock: run `dvc repro` there, and commit it")
        cache.fetch([digest], f"{path} of {self.short}")
        return cache.path_of(digest)

    def predictions(self) -> tuple["pd.DataFrame", "Predictions"]:
        """What the model answered on the test split (n rows): as it is kept, and to be scored.

        Raises:
            StoreError: it cannot be had.
        """
        from mlops.evaluation import results

        kept = tables.read(self.kept(paths.PREDICTIONS))
        said = self.json(paths.EVALUATION)
        if "row" not in kept or "labels" not in said:
            raise StoreError(
                f"{paths.PREDICTIONS} of {self.short} was made by an older pipeline: run `dvc repro` there"
            )
        return kept, results.from_frame(kept, said["labels"], said["positive"])

    def profile(self) -> "Profile":
        """The profile of the training split.

        Raises:
            StoreError: it cannot be had.
        """
        from mlops.data import profile

        return profile.from_frame(tables.read(self.kept(paths.REFERENCE)))

    def data(self, folder: str) -> str:
        """What DVC's digest of a folder of data was, as the .dvc file beside it has it; "" if there was none."""
        path = Path(f"{folder}.dvc")
        return str(self.yaml(path)["outs"][0]["md5"]) if self.text(path) else ""

    def stale(self) -> list[str]:
        """The stages of the work tree whose code, parameters or command are not those of its results."""
        settings, pipeline = self.yaml(params.FILE), self.yaml(paths.PIPELINE)["stages"]
        found = []
        for name, stage in pipeline.items():
            entry = self.stages.get(name, {})
            known = {dep["path"]: dep["md5"] for dep in entry.get("deps", [])}
            # Data aside, which need not be there.
            there = [path for path in stage["deps"] if paths.is_code(path) or Path(path).is_file()]
            same = all(known.get(path) == cache.md5(Path(path)) for path in there)
            used = {section: settings.get(section) for section in stage.get("params", [])}
            if (
                entry.get("cmd") != stage["cmd"]
                or entry.get("params", {}).get(params.FILE.name, {}) != used
                or not same
            ):
                found.append(name)
        return found

    def _text(self, path: Path) -> str:
        text = self.text(path)
        if text is None:
            raise StoreError(f"{self.short} has no {path}: run `dvc repro` there, and commit what it writes")
        return text


def locked(text: str) -> dict[str, str]:
    """The MD5 of every dependency and output in the text of a dvc.lock, by its path, in the order of the stages."""
    stages = yaml.parsed(text, str(paths.LOCK))["stages"]
    entries = [entry for stage in stages.values() for side in ("deps", "outs") for entry in stage.get(side, [])]
    return {entry["path"]: entry["md5"] for entry in entries}


def find(name: str) -> Revision:
    """The state that a commit, branch, tag or experiment is called by; "" is the work tree.

    Raises:
        StoreError: there is none of that name, or several experiments have it.
    """
    if name in ("", WORK_TREE):
        return Revision(WORK_TREE, "")
    if commit := _commit(name) or _commit(f"origin/{name}"):
        return Revision(name, commit)
    found = {commit for experiment, commit in _experiments() if experiment == name}
    if len(found) > 1:
        here = {
            commit for experiment, commit in _experiments(git.run("rev-parse", "HEAD").strip()) if experiment == name
        }
        found = here or found
    if len(found) == 1:
        return Revision(name, found.pop())
    if found:
        raise StoreError(
            f"several experiments are called {name}: give the commit of one (see `dvc exp list --all-commits`)"
        )
    hint = CUT_OFF if is_shallow() else "see `git log`, `git branch --all` and `dvc exp list`"
    raise StoreError(f"{name} is no commit, branch, tag or experiment of this repository: {hint}")


def of_result(tags: Mapping[str, str]) -> Revision:
    """The commit that holds the result of a version with these tags: its model, data and params (SHA-256).

    A version is mostly made before its commit is, so the one that it names is looked at first, and then the history,
    experiments included.

    Raises:
        StoreError: no commit of this clone has it.
    """
    history = git.run("log", "--all", "--format=%H", "--", paths.REGISTRATION.as_posix(), default="").split()
    digests = {kind: tags.get(f"{kind}_digest", "") for kind in ("model", "data", "params")}
    commits = [commit for commit in (tags.get("commit"), *history, *(commit for _, commit in _experiments())) if commit]
    for commit in dict.fromkeys(commits):
        revision = Revision(commit, commit)
        if (text := revision.text(paths.REGISTRATION)) and _holds(json.loads(text), revision, digests):
            return revision
    hint = CUT_OFF if is_shallow() else "fetch the branch that it was made on"
    raise StoreError(f"no commit here has the model {digests['model'][:12]} with its data and parameters: {hint}")


def _holds(said: dict[str, Any], revision: Revision, digests: Mapping[str, str]) -> bool:
    if (said.get("model_digest"), said.get("data_digest")) != (digests["model"], digests["data"]):
        return False
    settings = revision.yaml(params.FILE)
    return provenance.digest({name: settings.get(name) for name in params.RECORDED}) == digests["params"]


def experiments() -> list[Revision]:
    """The experiments that were started from the commit that is checked out, by name."""
    head = git.run("rev-parse", "HEAD").strip()
    return [Revision(name, commit) for name, commit in _experiments(head)]


def merge_base() -> Revision:
    """Where the work at hand left the main branch; the last commit, if it is on it.

    Raises:
        StoreError: this clone has too little of the history to tell; the sentence says what to fetch.
    """
    main = next((name for name in MAIN if _commit(name)), None)
    base = git.run("merge-base", "HEAD", main, default="").strip() if main else ""
    if base:
        return Revision(base, base)
    if is_shallow():
        raise StoreError(CUT_OFF)
    raise StoreError(
        "there is no main branch to compare with: name what to compare with (`python -m mlops review HEAD~1`)"
    )


def changed_files(before: Revision, now: Revision, patterns: Sequence[str]) -> list[tuple[str, int, int]]:
    """The files that differ, by Git's path patterns: path, lines added, lines removed.

    In the work tree, files that Git does not know and does not ignore count as added.
    """
    spots = [f":(glob)**/{pattern}" for pattern in patterns]
    asked = [
        "diff",
        "--numstat",
        "--no-renames",
        "-z",
        "--relative",
        before.commit,
        *([now.commit] if now.commit else []),
    ]
    found: list[tuple[str, int, int]] = []
    for line in git.run(*asked, "--", *spots).split("\0")[:-1]:
        added, removed, path = line.split("\t", 2)
        found.append((path, int(added) if added.isdigit() else 0, int(removed) if removed.isdigit() else 0))
    if not now.commit:
        new = git.run("ls-files", "--others", "--exclude-standard", "-z", "--", *spots).split("\0")[:-1]
        found += [(path, len(Path(path).read_bytes().splitlines()), 0) for path in new]
    return sorted(found)


def is_shallow() -> bool:
    """Whether the history of this clone is cut off."""
    return git.run("rev-parse", "--is-shallow-repository").strip() == "true"


def _commit(name: str) -> str:
    return git.run("rev-parse", "--verify", "--quiet", "--end-of-options", name + "^{commit}", default="").strip()


def _experiments(baseline: str = "") -> list[tuple[str, str]]:
    """The experiments of a baseline commit, or of all: name and commit."""
    where = f"refs/exps/{baseline[:2]}/{baseline[2:]}/" if baseline else "refs/exps/"
    lines = git.run("for-each-ref", "--format=%(refname) %(objectname)", where).splitlines()
    refs = (line.split() for line in lines)
    # refs/exps/ab/cdef…/name; DVC keeps refs of its own beside them, such as refs/exps/exec/…
    return [(parts[4], commit) for ref, commit in refs if len(parts := ref.split("/", 4)) == 5 and len(parts[2]) == 2]
