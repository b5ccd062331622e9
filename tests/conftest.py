"""Bakes of the template: what every test of it stands on."""

import importlib
import importlib.util
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pytest
from filelock import FileLock
from ruamel.yaml import YAML

from tests import services, warm
from tests.projects import DVC, QUICK, QUICK_ROWS, Team, another_version, change, commit, keep_rows, succeeds

TEMPLATE = Path(__file__).resolve().parents[1]
PROJECT = "{{cookiecutter.project}}"
FIRST = "test_the_first_run_is_green_and_committed"  # the test that bakes
# A home of its own keeps cookiecutter's replay files, Git's identity and the person's settings out of the tests.
NOBODY = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_OPTIONAL_LOCKS": "0",  # to look at a project that is shared does not change it
    "PYTHONIOENCODING": "utf-8",
}
# Byte code stays beside the code, so that copies of a project and all of them together compile nothing again.
FOREIGN = ("GIT_", "MLFLOW_")
# The models that the tests have made are trusted in all of them, and nowhere else.
os.environ["XDG_STATE_HOME"] = str(TEMPLATE / ".cache" / "state")
WITHOUT = {"PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "VIRTUAL_ENV", "EMAIL"}


@dataclass(frozen=True)
class BakedProject:
    """A generated project, and what its generation printed."""

    path: Path
    printed: str
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def surroundings(self) -> dict[str, str]:
        """The environment of who works in it: that of the tests, and `env`."""
        return surroundings(self.path, HOME=str(self.path.parent), **self.env)

    @property
    def warm(self) -> dict[str, str]:
        """The same, where `python` has imported most of what a command imports (`warm.py`); it cannot be stopped."""
        env = self.surroundings
        if "PATH" in self.env:  # it may name another Python
            return env
        return env | {"PATH": os.pathsep.join([str(warm_python().parent), env["PATH"]])}

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the project; the caller looks at the exit code."""
        return subprocess.run(command, cwd=self.path, env=self.warm, capture_output=True, text=True)

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Do what `python -m mlops` does in this process, which saves its imports.

        The code is the template's, of which the project's is a copy. What the command's own processes print is lost.
        """
        from mlops.__main__ import app

        return self._here(app, "mlops", arguments)

    def stage(self, name: str) -> subprocess.CompletedProcess[str]:
        """Do what the command of a stage in dvc.yaml does in this process, without DVC."""
        command = YAML(typ="safe").load(self.read("dvc.yaml"))["stages"][name]["cmd"]
        _, _, module, *arguments = shlex.split(command)
        return self._here(importlib.import_module(module).main, module, arguments)

    def _here(self, command: Any, name: str, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        from mlops.base import console
        from mlops.history import cache

        code: object = 0
        cache.folder.cache_clear()
        with (
            patch.dict(os.environ, self.surroundings, clear=True),
            patch.object(sys, "argv", [name, *arguments]),
            patch.object(sys, "executable", str(warm_python())),
            patch("signal.signal"),  # those of the tests stay
            chdir(self.path),
            redirect_stdout(io.StringIO()) as printed,
            redirect_stderr(io.StringIO()) as warned,
        ):
            try:
                console.run(command)
            except SystemExit as end:
                code = end.code
        cache.folder.cache_clear()
        sentence = f"{code}\n" if isinstance(code, str) else ""
        number = code if isinstance(code, int) else int(bool(sentence))
        return subprocess.CompletedProcess([name, *arguments], number, printed.getvalue(), warned.getvalue() + sentence)

    def with_env(self, **env: str) -> "BakedProject":
        """The same project, to someone who has this in their environment."""
        return replace(self, env={**self.env, **env})

    def read(self, name: str) -> str:
        """The text of one file."""
        return (self.path / name).read_text(encoding="utf-8")

    @property
    def files(self) -> set[str]:
        """All files but Git's own, relative and with slashes."""
        files = (path.relative_to(self.path) for path in self.path.rglob("*") if path.is_file())
        return {file.as_posix() for file in files if file.parts[0] != ".git"}


def surroundings(home: Path, **more: str) -> dict[str, str]:
    """Environment variables of someone who stands in `home`, unknown to Git, with the tests' Python first."""
    # MLflow keeps where it last was in the environment of the whole process.
    kept = {name: value for name, value in os.environ.items() if name not in WITHOUT and not name.startswith(FOREIGN)}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
    return kept | NOBODY | {"PATH": path, "HOME": str(home), "USERPROFILE": str(home), "PWD": str(home)} | more


@cache
def warm_python() -> Path:
    """A `python` for commands of projects, which starts in no time."""
    return warm.start(surroundings(Path.home()))


def generate(
    template: Path,
    stands: Path,
    *options: str,
    typed: str | None = None,
    env: dict[str, str] | None = None,
    **answers: str,
) -> subprocess.CompletedProcess[str]:
    """Run the `cookiecutter` command in the folder `stands`; `typed` answers the prompts, else none is asked."""
    asked = [] if typed else ["--no-input"]
    given = [f"{name}={answer}" for name, answer in answers.items()]
    return subprocess.run(
        [sys.executable, "-m", "cookiecutter", *asked, *options, str(template), *given],
        cwd=stands,
        env=surroundings(stands, **(env or {})),
        input=typed,
        capture_output=True,
        text=True,
    )


def baked(generation: subprocess.CompletedProcess[str], path: Path) -> BakedProject:
    """The project that `generation` has left at `path`."""
    printed = generation.stdout + generation.stderr
    assert generation.returncode == 0, printed
    assert path.is_dir(), printed
    return BakedProject(path, printed)


def template_files() -> list[str]:
    """The template as a clone of it has it: what Git tracks, and what is about to be tracked."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", PROJECT, "hooks", "cookiecutter.json"],
        cwd=TEMPLATE,
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(name for name in listed.stdout.split("\0") if (TEMPLATE / name).is_file())


def hook_module(name: str) -> ModuleType:
    """A hook, imported in place: only what runs as a script is rendered."""
    spec = importlib.util.spec_from_file_location(name, TEMPLATE / "hooks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def copy_template(to: Path) -> Path:
    """The template without what in-place tests leave in the working tree."""
    for name in template_files():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TEMPLATE / name, to / name)
    return to


def storage_of(project: Path) -> Path:
    """The DVC remote that a project has by default."""
    return project.with_name(f"{project.name}-storage")


def bake_copy(project: BakedProject, to: Path) -> BakedProject:
    """A copy of a project and its remote below `to`, to be changed."""
    copy = to / project.path.name
    shutil.copytree(project.path, copy, symlinks=True)
    if storage_of(project.path).is_dir():
        shutil.copytree(storage_of(project.path), storage_of(copy))
    return BakedProject(copy, "", project.env)


def found_in(secret: str, project: BakedProject, *printed: str) -> list[str]:
    """Where a secret is: files of the project but DVC's own local configuration, all commits, what was printed."""
    root = project.path
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    files.pop(".dvc/config.local", None)
    history = project.run("git", "log", "--all", "--patch", "--text").stdout
    return [
        name
        for name, content in {**files, "git log": history.encode(), "printed": "".join(printed).encode()}.items()
        if secret.encode() in content
    ]


@pytest.fixture(autouse=True)
def store_is_forgotten() -> Iterator[None]:
    """What MLflow tells the processes that a test may start is gone when the test is."""
    yield
    os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template, to be generated from and not to be changed."""
    return copy_template(tmp_path_factory.mktemp("clone") / "template")


@pytest.fixture
def bake(template: Path, tmp_path: Path) -> Callable[..., BakedProject]:
    """A function that generates a project of files only, from the answers it is given."""

    def generated(**answers: str) -> BakedProject:
        answers = {"setup": "no"} | answers
        return baked(generate(template, tmp_path, **answers), tmp_path / answers.get("project", "customer-churn"))

    return generated


def shared(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], BakedProject]) -> BakedProject:
    """A project that the first worker that needs it makes in a folder, and that the others wait for.

    No test changes it. Where it could not be made, every worker is told why, and none tries again.
    """
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"shared-{name}"
    made = folder / "made.json"
    with FileLock(folder.with_suffix(".lock")):
        if not made.exists():
            folder.mkdir()
            made.write_text(json.dumps({"failed": "its making was cut off"}))
            try:
                project = make(folder)
            except BaseException as error:
                made.write_text(json.dumps({"failed": str(error)}))
                raise
            made.write_text(json.dumps(asdict(project), default=str))
    found = json.loads(made.read_text())
    assert "failed" not in found, f"another worker could not make {name}: {found['failed']}"
    return BakedProject(Path(found["path"]), found["printed"])


@pytest.fixture(scope="session")
def pipeline(template: Path, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """The one real bake: the example, set up in the environment of the tests, its pipeline run.

    It is shared by all workers: a test that runs more than Git in it works on a clone or a copy.
    """

    def make(stands: Path) -> BakedProject:
        project = baked(generate(template, stands, setup="here"), stands / "customer-churn")
        assert "left to you" not in project.printed, project.printed
        return project

    return shared(tmp_path_factory, "pipeline", make)


@pytest.fixture(scope="session")
def quick(pipeline: BakedProject, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """The real stages on a few hundred rows of the example, run, committed and pushed; its model is version 1."""

    def make(stands: Path) -> BakedProject:
        project = bake_copy(pipeline, stands)
        for store in project.path.glob("mlflow.db*"):
            store.unlink()
        for (section, name), value in QUICK.items():
            change(project, section, name, value)
        for folder, rows in QUICK_ROWS.items():
            keep_rows(project, folder, rows)
        succeeds(project, *DVC, "add", "--quiet", "data/raw", "data/incoming")
        succeeds(project, *DVC, "repro", "--quiet")
        commit(project, "As little as it can take")
        succeeds(project, *DVC, "push", "--quiet")
        return project

    return shared(tmp_path_factory, "quick", make)


@pytest.fixture(scope="session")
def stricter(quick: BakedProject, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """The quick project with a second version, which Ada has made and committed."""

    def make(stands: Path) -> BakedProject:
        team = Team(bake_copy(quick, stands), None)
        another_version(team)
        return team.project

    return shared(tmp_path_factory, "stricter", make)


@pytest.fixture(scope="session")
def stub(template: Path, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """The example with stages that only follow their parameters (`stub_stages.py`), run and committed."""

    def make(stands: Path) -> BakedProject:
        project = baked(generate(template, stands, setup="no"), stands / "customer-churn")
        stages = project.path / "stages"
        shutil.copy(TEMPLATE / "tests" / "stub_stages.py", stages / "__init__.py")
        for stage in stages.glob("[!_]*.py"):
            stage.write_text(f"import sys\n\nimport stages\n\nstages.main({stage.stem!r}, sys.argv[1:])\n")
        change(project, "train", "model", "logistic_regression")
        space = {"models.logistic_regression.C": {"low": 0.01, "high": 10.0, "log": True}}
        change(project, "sweep", "space", space)
        succeeds(project, "git", "init", "--quiet", "--initial-branch", "main")
        succeeds(project, *DVC, "add", "--quiet", "data/raw", "data/incoming", "data/events")
        succeeds(project, *DVC, "repro", "--quiet")
        commit(project, "A stub")
        return project

    return shared(tmp_path_factory, "stub", make)


@pytest.fixture(scope="session")
def postgres() -> Iterator[services.Postgres]:
    """A PostgreSQL cluster; its password needs quoting in a URL, and is to be looked for."""
    with services.postgres("s3cr3t p@ss/w:rd") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def s3() -> Iterator[services.S3]:
    """An S3 endpoint."""
    with services.s3("s3cr3tid", "s3cr3tkey") as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def tracking(
    postgres: services.Postgres, s3: services.S3, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[services.Tracking]:
    """An MLflow server with accounts, on both."""
    with services.tracking(postgres, s3, tmp_path_factory.mktemp("tracking")) as server:
        yield server


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep in one worker what shares more than a project, and put first what takes long, so that all end together.

    While one worker bakes, the other has the tables, which need no bake. The order is kept where xdist hands out one
    test, or one group, after the other (`--no-loadscope-reorder`).
    """
    bakes = {"pipeline", "quick"}

    def turn(item: pytest.Item) -> int:
        if item.name == FIRST:
            return 0
        if item.path.name == "test_tables.py":
            return 1
        if "servers" in groups_of(item):
            return 2
        return 3 if bakes & set(getattr(item, "fixturenames", ())) else 4

    for item in items:
        if "module" in scopes_of(item) and not groups_of(item):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    items.sort(key=turn)


def groups_of(item: pytest.Item) -> set[str]:
    """The groups of tests that one worker runs, which a test is in."""
    return {name for mark in item.iter_markers("xdist_group") for name in mark.args}


def scopes_of(item: pytest.Item) -> set[str]:
    """How long the fixtures of a test live."""
    known = item._fixtureinfo.name2fixturedefs.values()
    return {definition.scope for definitions in known for definition in definitions}
