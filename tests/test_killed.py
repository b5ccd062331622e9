"""Commands that are killed in the middle: the same command again ends as if nothing had happened.

A command runs in a forked process that sends itself SIGKILL before the n-th change of a file or of a database. A file
that it was about to write is cut off or empty, as it is when a writer is killed. DVC runs in that process, too.
`promote` and `rollback` are killed in tests/mlops/commands/test_promotion.py, stages in tests/test_pipeline.py.
"""

import gc
import io
import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, closing, nullcontext, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dvc.cli
import dvc.repo.experiments.run
import dvc.utils.hydra
import pytest
from mlops.__main__ import app
from mlops.base import model_files
from mlops.data.schema import Schema
from mlops.history import cache, clones
from mlops.history import dvc as own_dvc
from mlops.registry import packaging, recording, registry
from mlops.training.model import fitted_model
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import make_pipeline
from sqlalchemy import Engine, event

from tests.conftest import PROJECT, TEMPLATE, BakedProject, baked, generate, hook_module, surroundings

KILLED = -signal.SIGKILL
MOMENTS = 20
NEW = ".git/new.csv"
DIGESTS = {"model": "m" * 64, "data": "d" * 64, "params": "", "code": "c" * 64}
TASK = "classification"
NUMBER = {"columns": {"x": {"type": "number"}, "y": {"type": "category", "role": "target"}}}
BROKEN = 1
WRITING = ("INSERT", "UPDATE", "DELETE")  # where a kill falls between them, SQLite takes the transaction back
DATABASE = ("os.rename", ("database",))
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink"}
SCHEMA = """\
columns:
  id: {type: integer, role: id}
  size: {type: number}
  label: {type: category, role: target}
"""
PARAMS = """\
train: {model: forest}
models: {forest: {depth: 3}}
sweep: {seed: 1}
tracking: {uri: ""}
"""
PIPELINE = """\
stages:
  train:
    cmd: cp said.json reports/training.json && cp said.json reports/cross_validated.json && cp params.yaml model
    deps: [data/raw, said.json]
    params: [train, models]
    outs: [model, {reports/training.json: {cache: false}}]
    metrics: [{reports/cross_validated.json: {cache: false}}]
"""
SAID = '{"task": "classification", "accuracy": 0.8, "cross_validated": {"accuracy": {"mean": 0.8, "std": 0.1}}}\n'


def csv(*numbers: int) -> str:
    return "\n".join(["id,size,label", *(f"{at},{at / 2},{'ny'[at % 2]}" for at in numbers)]) + "\n"


def dvc_here(command: Sequence[str], cwd: Path | None = None, **_: object) -> subprocess.CompletedProcess[str]:
    """Do what `python -m dvc …` does in this process."""
    with chdir(cwd or Path.cwd()), redirect_stdout(io.StringIO()) as printed:
        errors = logging.StreamHandler(io.StringIO())
        errors.setLevel(logging.ERROR)
        logging.getLogger("dvc").addHandler(errors)
        logging.getLogger("dvc").setLevel(logging.ERROR)  # another test of this process may have silenced it
        code = dvc.cli.main(list(command[3:]))
        logging.getLogger("dvc").removeHandler(errors)
    return subprocess.CompletedProcess(command, code, printed.getvalue(), errors.stream.getvalue())


def experiment(command: Sequence[str], project: Path, *_: object) -> tuple[str, bool]:
    """What is left of `dvc exp run` in a clone: an experiment in Git, whose result is that of the last commit."""
    name = command[command.index("--name") + 1]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=project, check=True, capture_output=True, text=True).stdout
    (project / "params.yaml").write_text(PARAMS.replace("3", "4"), encoding="utf-8")
    for git in (
        ["commit", "--quiet", "--all", "--message", name],
        ["update-ref", f"refs/exps/{head[:2]}/{head[2:].strip()}/{name}", "HEAD"],
    ):
        subprocess.run(["git", *git], cwd=project, check=True)
    return "", False


def run(command: Callable[[], object], at: int = 0) -> tuple[int, int]:
    """Run a command in a forked process, killed before its change number `at`; the exit code, and how many it made."""
    reading, writing = os.pipe()
    gc.freeze()  # else the garbage collection of the new process copies all memory of this one
    process = os.fork()
    if not process:
        os.setsid()
        code, seen = BROKEN, [0]
        with Path(".dvc/tmp/said").open("w") as log, redirect_stdout(log), redirect_stderr(log):
            hook = killer(at, seen, Path.cwd())
            sys.addaudithook(hook)
            watch_database(lambda: hook(*DATABASE))
            try:
                command()
                code = 0
            except SystemExit as end:
                print(end.code)
                code = end.code if isinstance(end.code, int) else BROKEN
            except BaseException:
                traceback.print_exc()
        os.write(writing, b"%d" % seen[0])
        os._exit(code)
    gc.unfreeze()
    os.close(writing)
    _, status = os.waitpid(process, 0)
    with suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    with os.fdopen(reading) as pipe:
        return os.waitstatus_to_exitcode(status), int(pipe.read() or 0)


def watch_database(change: Callable[[], None]) -> None:
    """Tell before every statement that changes a database, and before the commit that follows."""
    changed: list[str] = []

    def execute(_: object, __: object, sql: str, *___: object) -> None:
        if sql.startswith(WRITING):
            changed.append(sql)
            change()

    def commit(_: object) -> None:
        if changed:
            changed.clear()
            change()

    event.listen(Engine, "before_cursor_execute", execute)
    event.listen(Engine, "commit", commit)


def killer(at: int, seen: list[int], folder: Path) -> Callable[[str, tuple[Any, ...]], None]:
    """An audit hook that counts in `seen` the changes of files in a folder, and kills before number `at`."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        flags = (arguments[2] if event == "open" else 0) or 0
        if event not in CHANGES and not flags & (os.O_WRONLY | os.O_RDWR):
            return
        path = Path(os.fsdecode(arguments[0])).absolute() if not isinstance(arguments[0], int) else Path()
        if not path.is_relative_to(folder) or path.name == "said":
            return
        seen[0] += 1
        if seen[0] == at:
            if at % 2 and flags & os.O_TRUNC and path.exists():
                os.truncate(path, path.stat().st_size // 2)
            elif flags & os.O_TRUNC:
                path.write_bytes(b"")
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def mlops(*arguments: str) -> Callable[[], object]:
    return lambda: app(list(arguments), standalone_mode=False)


def repro() -> None:
    """`dvc repro`, by hand."""
    done = dvc_here(own_dvc.command("repro"))
    if done.returncode:
        sys.exit(f"{done.stderr}")


def moments(changes: int) -> list[int]:
    """Twenty of the changes, the first and the last of them."""
    return [1 + round(step * (changes - 1) / (MOMENTS - 1)) for step in range(MOMENTS)]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project with data, a delivery and a stage that has run, all of it committed."""
    folder = tmp_path_factory.mktemp("repository") / "project"
    contents = {
        "data/raw/first.csv": csv(*range(300)),
        "data/raw/second.csv": csv(*range(300, 600)),
        "data/incoming/old.csv": csv(*range(600, 610)),
        "schema.yaml": SCHEMA,
        "params.yaml": PARAMS,
        "dvc.yaml": PIPELINE,
        "said.json": SAID,
        "reports/.gitkeep": "",
        ".dvc/config": "[core]\n    analytics = false\n    check_update = false\n    autostage = true\n",
        ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
        ".dvc/tmp/said": "",
        ".dvcignore": (TEMPLATE / PROJECT / ".dvcignore").read_text(encoding="utf-8"),
        ".gitignore": (TEMPLATE / PROJECT / ".gitignore").read_text(encoding="utf-8"),
    }
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@localhost"]
    with chdir(folder):
        subprocess.run(["git", "init", "--quiet", "--initial-branch", "main"], check=True)
        dvc_here(own_dvc.command("add", "data/raw", "data/incoming"))
        repro()
        subprocess.run([*git, "add", "--all"], check=True)
        subprocess.run([*git, "commit", "--quiet", "--message", "Start"], check=True)
    (folder / NEW).write_text(csv(*range(700, 720)), encoding="utf-8")
    return folder


@pytest.fixture
def fresh(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Path]]:
    """A function that makes a copy of the repository and goes into it."""
    number = iter(range(1000))

    def copy() -> Path:
        folder = shutil.copytree(repository, tmp_path / f"{next(number)}" / "project")
        monkeypatch.chdir(folder)
        cache.folder.cache_clear()
        return folder

    # With DVC_TEST, DVC prints to the standard output of the moment.
    env = {"GIT_CONFIG_GLOBAL": os.devnull, "DVC_SITE_CACHE_DIR": str(tmp_path / "site"), "DVC_TEST": "true"}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(own_dvc, "subprocess", SimpleNamespace(run=dvc_here))
    monkeypatch.setattr(clones, "run", experiment)
    yield copy
    cache.folder.cache_clear()


def state(folder: Path) -> dict[str, bytes]:
    """The content of every file but those that DVC and Git have for themselves, or ignore as half-written."""
    own = {(".dvc", "tmp"), (".dvc", "cache")}
    there = (path for path in folder.rglob("*") if path.is_file() and not path.match(".*.tmp"))
    paths = ((path, path.relative_to(folder)) for path in there)
    return {
        name.as_posix(): path.read_bytes()
        for path, name in paths
        if name.parts[0] != ".git" and name.parts[:2] not in own
    }


def said() -> str:
    return Path(".dvc/tmp/said").read_text()


def leftovers() -> list[str]:
    """What only a killed process leaves: temporary folders, and what `git add --all` would take along."""
    found = [
        path for name in ("ingest", "hold-back", "sweeps/*", "sync") for path in Path(".dvc/tmp").glob(f"{name}/*")
    ]
    half = [*Path().glob("data/**/.*.part"), *filter(seen_by_git, Path().rglob(".*.tmp"))]
    return [str(path) for path in [*found, *half] if path.suffix != ".lock"]


def seen_by_git(path: Path) -> bool:
    return subprocess.run(["git", "check-ignore", "--quiet", path], check=False).returncode != 0


def survives(
    fresh: Callable[[], Path],
    command: Callable[[], object],
    mend: Callable[[], object] | None = None,
    part: slice = slice(None),
) -> set[str]:
    """Kill a command at many moments, and compare what the same command makes of each; what was said meanwhile."""
    fresh()
    command()  # here, so that no other process has to import anything
    undisturbed = fresh()
    code, changes = run(command)
    assert (code, changes >= MOMENTS) == (0, True), said()
    after, words = state(undisturbed), set[str]()
    for at in moments(changes)[part]:
        folder = fresh()
        assert run(command, at)[0] == KILLED, said()
        code, _ = run(command)
        if code and mend:
            words.add(said())
            assert run(mend)[0] == 0, f"{at}: {said()}"
            code, _ = run(command)
        assert code == 0, f"{at}: {said()}"
        assert state(folder) == after, at
        assert leftovers() == []
    return words


def completed(fresh: Callable[[], Path], command: Callable[[], object]) -> Iterator[tuple[Path, int]]:
    """Kill a command at many moments, and give the same command again; each folder with its moment."""
    fresh()
    command()  # here, so that no other process has to import anything
    fresh()
    code, changes = run(command)
    assert (code, changes >= MOMENTS) == (0, True), said()
    for at in moments(changes):
        folder = fresh()
        assert run(command, at)[0] == KILLED, said()
        assert run(command)[0] == 0, f"{at}: {said()}"
        yield folder, at


@pytest.mark.parametrize(
    ("labelled", "part"),
    [([], slice(0, None, 2)), (["--labelled"], slice(1, None, 2))],
    ids=["unlabelled", "labelled"],  # the twenty moments are shared out
)
def test_ingest(fresh: Callable[[], Path], labelled: list[str], part: slice) -> None:
    survives(fresh, mlops("ingest", NEW, *labelled), part=part)


def test_hold_back(fresh: Callable[[], Path]) -> None:
    def empty() -> Path:
        folder = fresh()
        (folder / "data/incoming/old.csv").unlink()
        return folder

    survives(empty, mlops("data", "hold-back"))


def test_repro(fresh: Callable[[], Path]) -> None:
    def changed() -> Path:
        folder = fresh()
        (folder / "params.yaml").write_text(PARAMS.replace("3", "4"), encoding="utf-8")
        return folder

    said = survives(changed, repro, mlops("resolve"))

    assert any("dvc.lock' validation failed" in words or "dvc.lock', YAML" in words for words in said), said
    assert any("RWLock-file" in words for words in said), said


def test_sweep(fresh: Callable[[], Path]) -> None:
    command, before = mlops("sweep", "-S", "models.forest.depth=4"), state(fresh())
    for folder, at in completed(fresh, command):
        assert len(list((folder / ".git" / "refs" / "exps").glob("*/*/sweep-*"))) == 1
        assert state(folder) == before, at
        assert leftovers() == []


@pytest.fixture
def registering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Path]]:
    """A function that copies a folder with a model and an empty store, and goes there."""
    base, number = tmp_path / "base", iter(range(1000))
    (base / ".dvc" / "tmp").mkdir(parents=True)

    def fresh() -> Path:
        folder = shutil.copytree(base, tmp_path / f"{next(number)}")
        monkeypatch.chdir(folder)
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # MLflow sets it
        return folder

    monkeypatch.chdir(base)
    model = make_pipeline(DummyClassifier()).fit([[0.0], [1.0]], ["no", "yes"])
    model_files.write(Path("models/model"), fitted_model(model, Schema.model_validate(NUMBER), TASK, "yes", 1))
    with registry.opened(f"sqlite:///{base.as_posix()}/mlflow.db"):
        pass  # to make a store takes seconds
    with packaging.package() as code:  # the same for every version
        monkeypatch.setattr(packaging, "package", lambda: nullcontext(code))
        yield fresh


def record() -> None:
    """What `sync` does with a result."""
    model = Path("models/model")
    result = recording.Result("demo", DIGESTS, {}, {"accuracy": 0.5}, {}, model, ["scikit-learn"], [model])
    recording.record(result, True, f"sqlite:///{Path.cwd().as_posix()}/mlflow.db", "demo")


def aliases(folder: Path) -> list[tuple[str, int]]:
    with closing(sqlite3.connect(folder / "mlflow.db")) as store:
        return sorted(store.execute("SELECT alias, version FROM registered_model_aliases").fetchall())


def test_what_sync_records(registering: Callable[[], Path]) -> None:
    for folder, at in completed(registering, record):
        with closing(sqlite3.connect(folder / "mlflow.db")) as store:
            runs = store.execute("SELECT status FROM runs WHERE lifecycle_stage = 'active'").fetchall()
            versions = store.execute("SELECT version FROM model_versions WHERE name = 'demo'").fetchall()
        assert (runs, versions, aliases(folder)) == ([("FINISHED",)], [(1,)], [("challenger", 1)]), at
        assert list(folder.rglob("*.part*")) == [], at


def test_a_generation_goes_on_with_the_command_that_is_kept_beside_it(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, unfinished = tmp_path / "loans", tmp_path / "loans.unfinished"
    whole = baked(generate(template, tmp_path, project="loans", setup="no", ci="none"), project).files
    assert not unfinished.exists()
    answers = {"_template": str(template), "_output_dir": str(tmp_path), "data": "example", "setup": "no", "ci": "none"}
    answers |= {"_repo_dir": str(template), "project": "loans"}
    monkeypatch.chdir(project)
    unfinished.write_text(f"exec {hook_module('pre_gen_project').go_on_command(answers, [])}\n", encoding="utf-8")
    shutil.rmtree(project / "docs")  # as if it had been killed before that was written
    (project / "dvc.lock").write_text("schema:", encoding="utf-8")
    (project / "data" / "raw" / "mine.csv").write_text("a,b\n", encoding="utf-8")

    again = generate(template, tmp_path, project="loans", setup="no", ci="none")
    goes_on = subprocess.check_output(["sh", unfinished], env=surroundings(tmp_path), text=True)

    assert "already exists" in again.stderr + again.stdout
    assert "moved to data/raw-before/mine.csv" in goes_on
    assert BakedProject(project, "").files == {*whole, "data/raw-before/mine.csv"}
    assert not unfinished.exists()
