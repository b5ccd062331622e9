"""The steps of a retraining, in a clone: each takes the run, does its work, and returns facts for the journal.

A step that was killed is done again from the commit of the last finished step, so it begins where nothing is half done.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from contextlib import ExitStack, chdir
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from mlops.base import files, params, yaml
from mlops.base.errors import DataError, StoreError, counted
from mlops.data import parsing
from mlops.history import cache, clones, commands, git, paths, revisions
from mlops.history.clones import State
from mlops.intake import deliveries, sources, tables
from mlops.registry import audit, backend, registry, sqlite_store
from mlops.retraining import decision, hosting, workspace
from mlops.retraining.decision import Decision, Facts
from mlops.retraining.journal import FOLDER, Journal
from mlops.retraining.workspace import Start
from mlops.rollout.canary import Say
from mlops.rollout.release import Way, release
from mlops.serving import admin, delivery

Step = dict[str, Any]
Clock = Callable[[], datetime]

REVIEW, PAGE = FOLDER / "review.md", FOLDER / "review.html"
MARK = "Retrain-Delivery: "  # a line of the message of the commit that a retraining makes
# What `ingest` calls a delivery: day, stem, digest.
INGESTED = re.compile(r"\d{4}-\d\d-\d\d-(.+)-[0-9a-f]{8}")
PREDICTIONS = re.compile(r"\d{4}-\d\d-\d\d-predictions-[0-9a-f]{8}\.parquet")
LOG_MARK = "ingested.json"  # up to when the log of predictions is ingested (`commands/data/ingest_predictions.py`)
SECONDS_A_DAY = 86_400
REGRESSION = 3  # exit code of `review --fail-on regression`
# Of the report of `monitor`: what alerts need, and what the rules need.
TOLD = ("verdict", "alarm", "retraining", "delivery", "features")
MAIN_REPORTS = ("verdict", "alarm", "retraining", "delivery", "predictions", "estimated")


@dataclass(frozen=True)
class Request:
    """What to take: a source, the prediction log, or (neither of them) what lies in data/incoming/."""

    source: str | None = None
    query: str | None = None
    from_predictions: bool = False
    force: bool = False

    @property
    def fresh(self) -> bool:
        """Whether the data can be other data each time it is asked for."""
        return bool(self.source) or self.from_predictions

    def identity(self) -> dict[str, Any]:
        """What makes another run the same run, without secrets; for data/incoming/ the digest of its files."""
        asked = {"from_predictions": self.from_predictions, "force": self.force}
        if self.source:
            secret = json.dumps([self.source, self.query])
            name = sources.described(self.source, self.query)
            return {**asked, "source": name, "digest": hashlib.sha256(secret.encode()).hexdigest()[:16]}
        return asked if self.from_predictions else {**asked, "incoming": incoming_digest()}


@dataclass(frozen=True)
class Run:
    """All that a step works with: the project in a clone, its parameters of this topic, the journal and the clock."""

    clone: Path
    start: Start
    request: Request
    journal: Journal
    settings: params.Retrain
    clock: Clock
    say: Say

    def mlops(self, *arguments: str, real: bool = False) -> commands.Done:
        """Run a command of the clone, with the `real` registry, or with one that is gone with the clone."""
        return commands.call(self.clone, "mlops", *arguments, env=self._store(real))

    def repro(self, *targets: str) -> None:
        """Run what is stale in the clone; no registry but the clone's own sees it.

        Raises:
            StoreError: a stage failed; the sentence is its own.
        """
        done = commands.call(self.clone, "dvc", "repro", *targets, env=self._store(real=False))
        if done.code:
            raise StoreError(f"the pipeline failed: {done.reason}")

    def _store(self, real: bool) -> dict[str, str]:
        uri = params.load(params.Tracking).uri
        address = backend.address(uri) if real else sqlite_store.address(self.clone / "mlflow.db")
        return {"MLFLOW_TRACKING_URI": address}

    def keep(self, message: str) -> str:
        """Commit what changed in the clone; the commit outlives the clone, unless this is a dry run."""
        return workspace.keep(self.clone, message, outlives=self.journal.path is not None)

    def json(self, path: Path) -> Any:
        """A report in the clone."""
        return files.read_json(self.clone / path)

    def __getitem__(self, step: str) -> Step:
        """The facts of a finished step."""
        return self.journal.steps[step]


def incoming_digest() -> str:
    """The digest of the delivery that lies in the work tree but not in its commit; "" if there is none."""
    if not paths.INCOMING.is_dir() or not deliveries.listed(paths.INCOMING):
        return ""
    here = cache.md5(paths.INCOMING)
    return "" if here == revisions.find("HEAD").data(paths.INCOMING.as_posix()) else here


def take(run: Run) -> Step:
    """Bring the newest delivery into the clone's data/incoming/, and look at every file of it.

    Raises:
        ProjectError: the source cannot be read, or the delivery breaks the schema.
    """
    incoming, is_there = run.clone / paths.INCOMING, True
    if run.request.source:
        path = run.request.source if "://" in run.request.source else str(Path(run.request.source).resolve())
        query = ["--query", run.request.query] if run.request.query else []
        origin = sources.described(run.request.source, run.request.query)
        _note_origin(run, paths.INCOMING, Path(_ingested(run, path, *query)["file"]).name, origin)
    elif run.request.from_predictions:
        origin, is_there = _taken_from_log(run)
    else:
        origin = paths.INCOMING.as_posix()
        if run.journal.request.get("incoming"):
            _copy_incoming(run)
    # A delivery that the main branch has is not the prediction log's.
    listed = deliveries.listed(incoming) if is_there and incoming.is_dir() else []
    found = [_look(run, path) for path in listed]
    commit = run.keep("Take the newest delivery")
    content = hashlib.sha256("".join(sorted(file["digest"] for file in found)).encode()).hexdigest() if found else ""
    return {"origin": origin, "files": found, "digest": content, "commit": commit}


def _ingested(run: Run, *arguments: str) -> Any:
    done = run.mlops("ingest", *arguments, "--json")
    if done.code:
        raise DataError(done.reason)
    return json.loads(done.output)


def _note_origin(run: Run, folder: Path, name: str, origin: str) -> None:
    """Let the `.dvc` file of a folder say where its newest file comes from, as `ingest` does, but not in the clone."""
    tracked = run.clone / folder.with_suffix(".dvc")
    content = yaml.read(tracked)
    content["outs"][0]["desc"] = f"{name} from {origin}"
    files.write_text(tracked, yaml.dumped(content))


def _taken_from_log(run: Run) -> tuple[str, bool]:
    """Ingest the log of predictions into the clone; where it comes from, and whether there is anything new.

    What is taken twice, since a run was killed, is taken once.
    """
    folder = Path(params.load(params.Serving, run.clone / params.FILE).folder)
    log, link = folder.resolve(), run.clone / folder
    before = run.journal.notes.setdefault("mark", _text(log / LOG_MARK))
    run.journal.write()
    _put(log / LOG_MARK, before)
    until = []
    if run.settings.label_days:
        until = ["--until", (run.clock() - timedelta(days=run.settings.label_days)).isoformat()]
    if not folder.is_absolute():
        link.symlink_to(log)
    try:
        return str(_ingested(run, "--from-predictions", *until)["source"]), True
    except DataError as error:
        if not any(words in str(error) for words in delivery.NOTHING_NEW):
            raise
        if not (log / "predictions").is_dir():
            return f"{folder / 'predictions'} is not here: is this the machine of the model server?", False
        return "the prediction log has nothing new", False  # a quiet night is no failure
    finally:
        if not folder.is_absolute():
            link.unlink()
        if run.journal.path is None:
            _put(log / LOG_MARK, before)


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _put(path: Path, text: str | None) -> None:
    if text is None:
        path.unlink(missing_ok=True)
    elif _text(path) != text:
        files.write_text(path, text)


def _copy_incoming(run: Run) -> None:
    """Copy the delivery of the work tree, which no commit has, into the clone, and track it there."""
    goal = run.clone / paths.INCOMING
    goal.mkdir(parents=True, exist_ok=True)
    for old in goal.iterdir():
        old.unlink()
    for path in deliveries.listed(paths.INCOMING):
        shutil.copy(path, goal / path.name)
    tracked = paths.INCOMING.with_suffix(".dvc")
    if tracked.exists():
        shutil.copy(tracked, run.clone / tracked)  # it says where the delivery comes from
    done = commands.call(run.clone, "dvc", "add", paths.INCOMING.as_posix())
    if done.code:
        raise StoreError(f"{paths.INCOMING} could not be tracked: {done.reason}")


def _look(run: Run, path: Path) -> Step:
    """What is known of a file: its rows, how many can be trained on, and whether they are in data/raw/ already.

    It is checked as `ingest` checks it: a file that breaks the schema is refused here, before anything is run.
    """
    part, rows, labelled, incomplete = _trainable(run, path)
    try:
        facts = _ingested(run, str(part), "--dry-run", *(["--labelled"] if labelled else []))
    except DataError as error:
        raise DataError(str(error) if path.name in str(error) else f"{path.name}: {error}") from None
    raw = run.clone / paths.RAW
    same = path == part and cache.md5(path) in _md5s(raw)
    known = labelled > 0 and (same or _is_in(run, raw, facts["digest"], facts["rows"]))
    counts = {"rows": rows, "labelled": labelled, "incomplete": incomplete}
    return {"name": path.name, **counts, "digest": facts["digest"], "known": known}


def _is_in(run: Run, raw: Path, digest: str, rows: int) -> bool:
    """Whether a file of data/raw/ has this content, by the schema of today.

    A file is named after its digest by the schema of its day: by another role or type of a column, or another derived
    one, the same rows have another digest. So files with as many rows are read anew.
    """
    import pyarrow.parquet as pq

    if list(raw.glob(f"*-{digest[:8]}.parquet")):
        return True
    for path in sorted(raw.glob("*.parquet")):
        try:
            if pq.read_metadata(path).num_rows == rows:
                facts = _ingested(run, str(path.resolve()), "--dry-run", "--labelled")
                if facts["digest"] == digest:
                    return True
        except (OSError, ValueError, DataError):  # today it could not come in
            continue
    return False


def _md5s(folder: Path) -> set[str]:
    return {cache.md5(path) for path in folder.iterdir() if path.is_file()} if folder.is_dir() else set()


def _trainable(run: Run, path: Path) -> tuple[Path, int, int, int]:
    """The file of the rows of a delivery that can be trained on, and how many rows it has, can be and lack a column.

    These are the rows with a label; where there are none, all rows are in the file. Of the prediction log, rows without
    what training needs besides the features, such as an id, cannot be trained on, and whoever was asked about twice is
    in it once, with the last label.
    """
    layout = tables.read_schema(run.clone / paths.SCHEMA)
    ragged = params.load(params.Prepare, run.clone / params.FILE).ragged
    terms = deliveries.Terms(tuple(layout.from_outside), ragged)
    present = deliveries.columns(path, terms)
    of_log = bool(PREDICTIONS.fullmatch(path.name))
    beside = [name for name in layout.delivered if name not in (*layout.needed, layout.target)] if of_log else []
    there = [name for name in beside if name in present]
    target = [layout.target] if layout.target in present else []
    table = deliveries.whole(path, [*there, *target] or present[:1], terms)
    labelled = np.zeros(len(table), dtype=bool)
    if target:
        values = parsing.column(table[layout.target], layout.columns[layout.target], layout.missing)
        labelled = values.notna().to_numpy(dtype=bool)
    whole = labelled & bool(there == beside)
    if there == beside and beside:
        whole &= (table[beside].notna() & (table[beside] != "")).to_numpy().all(axis=1)
    incomplete = int((labelled & ~whole).sum())
    wanted = whole.copy() if whole.any() else ~labelled
    if ids := [name for name in layout.with_role("id") if name in there]:
        wanted[wanted] = ~table.loc[wanted, ids].duplicated(keep="last").to_numpy()
    rows = int(wanted.sum()) if whole.any() else 0
    if wanted.all() or not wanted.any():
        return path, len(table), rows, incomplete
    part = run.clone / ".dvc" / "tmp" / "retrain" / path.name
    part.parent.mkdir(parents=True, exist_ok=True)
    deliveries.select(path, wanted, part, terms)
    return part, len(table), rows, incomplete


def watch(run: Run) -> Step:
    """Compare the delivery with the training data, by the stage `monitor`.

    Raises:
        StoreError: the stage failed.
    """
    run.repro("monitor")
    report = run.json(paths.DRIFT)
    told = {name: report[name] for name in TOLD if name in report}
    return {"verdict": report["verdict"], "report": told, "commit": run.keep("Watch the delivery")}


def decide(run: Run) -> Decision:
    """Judge by the rules of params.yaml; this is done anew in each run, since time passes."""
    found = run["take"]["files"]
    fresh = [file for file in found if not file["known"]]
    facts = Facts(
        report={name: value for name, value in run.json(paths.DRIFT).items() if name in MAIN_REPORTS},
        trained_rows=int(run.json(paths.DATASET)["rows"]),
        new_rows=sum(file["labelled"] for file in fresh),
        unlabelled_rows=sum(
            file["rows"] - file["labelled"] - file["incomplete"] for file in found if not file["known"]
        ),
        incomplete_rows=sum(file["incomplete"] for file in found if not file["known"]),
        model_days=_model_days(run),
    )
    return decision.decide(facts, run.settings, force=run.request.force)


def _model_days(run: Run) -> float | None:
    """The days since the commit that brought the model of the main branch; None if there is no such commit."""
    report = revisions.Revision(run.start.commit, run.start.commit).text(paths.REGISTRATION)
    digest = json.loads(report).get("model_digest") if report else None
    if not digest:
        return None
    asked = ("log", "--format=%ct", f"-S{digest}", run.start.commit, "--", paths.REGISTRATION.as_posix())
    times = git.run(*asked, default="").split()
    return (run.clock().timestamp() - int(times[-1])) / SECONDS_A_DAY if times else None


def merge(run: Run) -> Step:
    """Add the labelled rows of each new file to the clone's data/raw/.

    Raises:
        DataError: a file breaks the schema.
    """
    merged = []
    note = yaml.read(run.clone / paths.INCOMING.with_suffix(".dvc"))["outs"][0].get("desc", "")
    for file in run["take"]["files"]:
        if file["labelled"] and not file["known"]:
            path = run.clone / paths.INCOMING / file["name"]
            stem = sources.stem(file["name"])
            named = INGESTED.fullmatch(stem)
            part, *_ = _trainable(run, path)
            facts = _ingested(run, str(part), "--labelled", "--name", named[1] if named else stem)
            named_so = note.startswith(f"{file['name']} from ")
            origin = note.partition(" from ")[2] if named_so else (paths.INCOMING / file["name"]).as_posix()
            _note_origin(run, paths.RAW, Path(facts["file"]).name, origin)
            merged.append({"file": facts["file"], "rows": facts["rows"]})
    return {"merged": merged, "commit": run.keep("Add the labelled rows to the training data")}


def search(run: Run) -> Step:
    """Try `retrain.search_trials` combinations of `sweep.space`; a better one by the folds replaces the parameters.

    Raises:
        StoreError: the pipeline fails, or all trials fail.
    """
    if not run.settings.search_trials:
        return {"trials": 0, "taken": False}
    from mlops.training.metrics import HIGHER_IS_BETTER

    run.repro("train")
    run.keep("Train with the parameters of before")
    done = run.mlops("sweep", "--trials", str(run.settings.search_trials), "--name", "retrain", "--json")
    if done.code:
        raise StoreError(f"the search failed: {done.reason}")
    best = next(trial for trial in json.loads(done.output) if not trial["failed"])
    metric = run.json(paths.TRAINING)["headline"]["metric"]
    before = run.json(paths.CROSS_VALIDATED)[metric]
    taken = best["mean"] > before if HIGHER_IS_BETTER.get(metric, True) else best["mean"] < before
    if taken:
        found = git.run("-C", str(run.clone), "for-each-ref", "--format=%(objectname)", f"refs/exps/*/*/{best['name']}")
        git.run("-C", str(run.clone), "checkout", "--quiet", found.split()[0], "--", params.FILE.as_posix())
    facts = {"trials": run.settings.search_trials, "metric": metric, "before": before, "best": best["mean"]}
    changes = {"taken": taken, "overrides": best["overrides"] if taken else []}
    return {**facts, **changes, "commit": run.keep("Take the parameters of the search")}


def train(run: Run) -> Step:
    """Run the pipeline; params.yaml then says that the model was made here, and why.

    `card.retrained` names the model by its digest, so that it is true of no other model. Nothing is registered
    but in the clone's own registry.

    Raises:
        StoreError: a stage failed.
    """
    run.repro("train")
    model = files.sha256(run.clone / paths.MODEL)
    known = revisions.Revision(run.start.commit, run.start.commit).text(paths.REGISTRATION)
    if known and json.loads(known).get("model_digest") == model:
        return {"model": model, "same": True, "gate": None}
    decided = run["decide"]
    wanted = [each["sentence"] for each in decided["reasons"] if each["holds"]]
    values = {"model": model, "trigger": decided["trigger"], "reasons": wanted}
    yaml.update(run.clone / params.FILE, "card", {"retrained": values})
    run.repro()
    gate = bool(run.json(paths.REGISTRATION)["passed"])
    return {"model": model, "same": False, "gate": gate, "commit": run.keep("Train again")}


def review(run: Run) -> Step:
    """Compare the result with the main branch (`review`) and with the version in production (`sync --dry-run`).

    Raises:
        StoreError: there is no review.
    """
    page = PAGE.resolve()
    done = run.mlops("review", run.start.commit, "--fail-on", "regression", "--html", str(page))
    if done.code not in (0, REGRESSION):
        raise StoreError(f"the result could not be reviewed: {done.reason}")
    asked = run.mlops("sync", "--dry-run", real=True)
    lines = [line for line in asked.output.splitlines() if line.startswith("gate ")]
    unknown = asked.reason if asked.code else ""
    admitted = not unknown and bool(lines) and not any(line.startswith("gate FAILED") for line in lines)
    shown = done.output.replace("→ work tree", f"→ {branch_of(run.start, run['take'])}", 1)
    files.write_text(REVIEW, hosting.shortened(_text_of_request(run, shown, lines, unknown)))
    headline = next((line for line in done.output.splitlines() if line.startswith("**")), "").partition(" · ")[0]
    return {"regression": done.code == REGRESSION, "admitted": admitted, "unknown": unknown, "headline": headline}


def _text_of_request(run: Run, review: str, lines: list[str], unknown: str) -> str:
    """The text of the pull request: why, with what data, what the gate says today, and the review."""
    taken, searched = run["take"], run["search"]
    said = ["Made by `python -m mlops retrain`, because:", ""]
    said += [f"- {each['rule']}: {each['sentence']}" for each in run["decide"]["reasons"] if each["holds"]]
    said += ["", f"Delivery ({taken['origin']}):", ""]
    for file in taken["files"]:
        state = "in the training data already" if file["known"] else f"{file['labelled']} of them with a label"
        said.append(f"- `{file['name']}`: {counted(file['rows'], 'row')}, {state}")
    if searched["trials"]:
        change = ", ".join(f"`{each}`" for each in searched["overrides"])
        outcome = f"better, and taken: {change}" if searched["taken"] else "no better, so the parameters stay"
        said += ["", f"Search of {searched['trials']} trials: cross-validated {searched['metric']} "]
        said[-1] += f"{searched['before']:.4g} before, {searched['best']:.4g} at best; {outcome}."
    said += ["", "The gate today, with the version in production:", ""]
    said += [f"- {line.removeprefix('gate ')}" for line in lines]
    said += [f"- not known: {unknown}"] if unknown else []
    said += ["", "A merge registers nothing: `git pull && dvc pull && python -m mlops sync` does that afterwards."]
    return "\n".join([*said, "", review])


def branch(run: Run) -> Step:
    """Make one commit of all that changed, on the branch of this delivery."""
    name = branch_of(run.start, run["take"])
    rows = sum(file["rows"] for file in run["merge"]["merged"])
    title = f"Retrain with {counted(rows, 'new labelled row')}" if rows else "Retrain"
    reasons = [f"- {each['sentence']}" for each in run["decide"]["reasons"] if each["holds"]]
    mark = f"{MARK}{run['take']['digest'] or 'none'}"
    message = "\n".join([title, "", *reasons, "", run["review"]["headline"].replace("**", ""), "", mark, ""])
    return {"name": name, "title": title, "commit": workspace.as_branch(run.clone, run.start, name, message)}


def adopt(run: Run, commit: str) -> None:
    """Go on from the branch that an earlier run made of this delivery, on this machine or on another one.

    Raises:
        StoreError: its data and results cannot be had.
    """
    made = revisions.Revision(commit, commit)
    clones.restore(State(commit), run.clone)
    done = commands.call(run.clone, "dvc", "pull")
    if done.code:
        raise StoreError(f"what {commit[:8]} has made before cannot be had: {done.reason}")
    why = params.load(params.Card, run.clone / params.FILE).retrained
    reasons = [{"rule": why.trigger, "holds": True, "sentence": sentence} for sentence in why.reasons]
    title = git.run("log", "-1", "--format=%s", commit).strip()
    steps: dict[str, Step] = {
        "decide": {"retrain": True, "reasons": reasons, "trigger": why.trigger, "obstacle": ""},
        "merge": {"merged": []},
        "search": {"trials": 0, "taken": False},
        "train": {"model": why.model, "same": False, "gate": bool(made.json(paths.REGISTRATION)["passed"])},
        "branch": {"name": branch_of(run.start, run["take"]), "title": title, "commit": commit},
    }
    run.journal.steps.update(steps)
    run.journal.write()


def branch_of(start: Start, taken: Step) -> str:
    """The branch of a delivery; without a delivery, that of the commit to start from."""
    return f"{workspace.BRANCHES}{(taken['digest'] or start.commit)[:8]}"


def push(run: Run) -> Step:
    """Push the data and results to the storage of DVC, and then the branch, so that whoever has it can pull them.

    Raises:
        StoreError: the storage or the remote cannot be reached, or refuses.
    """
    if not run.start.remote:
        return {"pushed": False}
    done = commands.call(run.clone, "dvc", "push")
    if done.code:
        raise StoreError(
            f"the storage of DVC does not take the results ({done.reason}): check .dvc/config and your rights; "
            "the same command goes on here"
        )
    made, host = run["branch"], hosting.host_of(hosting.address(run.start.remote))
    summary = f"{REVIEW.read_text(encoding='utf-8').split('Delivery (')[0]} {run['review']['headline']}"
    options = hosting.push_options(host, run.start.main, made["title"], summary)
    pushed = workspace.push(run.start, made["commit"], made["name"], options)
    if pushed.code:
        raise StoreError(
            f"the remote {run.start.remote} does not take {made['name']} ({workspace.reason(pushed)}): check your "
            "rights, or delete the branch there; the same command goes on here"
        )
    return {"pushed": True}


def propose(run: Run) -> Step:
    """Open the pull or merge request, or update it, or say by which commands a person takes the branch over.

    Raises:
        StoreError: `gh` refuses.
    """
    made, remote = run["branch"], run.start.remote
    host = hosting.host_of(hosting.address(remote)) if remote else hosting.Host("", "", "")
    return hosting.request(host, remote, made["name"], run.start.main, made["title"], REVIEW)


def accept(run: Run) -> Step:
    """Move the main branch of the remote on to the commit, if that is allowed; a host that refuses has its reasons.

    The main branch of this repository and the work tree stay as they are. What a host refused may be tried again.
    """
    found, gate = run["review"], run["train"]["gate"]
    why = "the gate failed" if not gate else "it is a regression" if found["regression"] else ""
    if not why and not found["admitted"]:
        why = found["unknown"] or "the gate fails today, against the version in production"
    if not why and not run.start.remote:
        why = "there is no remote whose main branch could be moved on"
    if why:
        return {"merged": False, "refused": False, "why": why}
    if workspace.holds(workspace.head(run.start), run["branch"]["commit"]):
        return {"merged": True, "refused": False, "why": ""}
    pushed = workspace.push(run.start, run["branch"]["commit"], run.start.main)
    refused = bool(pushed.code)
    return {"merged": not refused, "refused": refused, "why": workspace.reason(pushed) if refused else ""}


def register(run: Run) -> Step:
    """Record the result in the real registry, where the gate decides; the version, None if it gives none.

    Raises:
        StoreError: the registry cannot be reached.
    """
    done = run.mlops("sync", real=True)
    if done.code:
        raise StoreError(f"the result is merged, but was not registered: {done.reason}")
    with registry.configured() as (client, settings):
        known = registry.versions(client, settings.name)
    mine = [each for each in known if each.tags.get(registry.MODEL_DIGEST) == run["train"]["model"]]
    said = [line for line in done.output.splitlines() if line.strip()][-1:]
    return {"version": mine[0].number if mine else None, "said": said[0] if said else ""}


def promote(run: Run) -> Step:
    """Bring the version into production as `deliver` does: by the canary of the model server, or by `promote`.

    The canary is for `serving.route: canary`; without the address of the server, somebody else has to begin it. What
    a person has to do is no error: it is what is `awaited`. A version that its canary rolled back is `rolled_back`.

    Raises:
        StoreError: the promotion fails for another reason, or the server cannot be reached.
        ParameterError: there is an address of the server, and no key.
    """
    number = run["register"]["version"]
    if number is None:
        return {"promoted": False, "awaited": f"no version was made: {run['register']['said']}"}
    url = os.environ.get(admin.URL, "")
    by_canary = params.load(params.Serving, run.clone / params.FILE).route == "canary"
    if by_canary and not url:
        told = f"version {number} is the challenger: its canary is begun by `python -m mlops deliver`, or here if "
        return {"promoted": False, "awaited": f"{told}{admin.URL} has the address of the model server"}
    with ExitStack() as stack:
        server = stack.enter_context(admin.connected(url)) if by_canary else None
        reason = f"retrained automatically: {run['decide']['trigger']}"
        way = Way(reason, lambda *given: run.mlops("promote", given[0], "--reason", given[1], real=True), server)
        found = release(number, way, run.say)
    rolled_back = found.outcome == "rolled back"
    if not rolled_back and found.outcome not in ("promoted", "in production"):
        return {"promoted": False, "awaited": found.sentence}
    # On top of what main is now: this may have been pushed already, by a run that was killed then.
    clones.restore(State(workspace.head(run.start)), run.clone)
    with registry.configured() as (client, settings), chdir(run.clone):
        audit.write_copy(audit.read(client, settings.name))
    commit = run.keep(f"{'Roll back' if rolled_back else 'Promote'} version {number}")
    pushed = workspace.push(run.start, commit, run.start.main)
    late = f"commit {paths.AUDIT} of the registry: {workspace.reason(pushed)}" if pushed.code else ""
    facts = {"promoted": not rolled_back, "rolled_back": rolled_back, "sentence": found.sentence}
    return {**facts, "awaited": late, "commit": commit}
