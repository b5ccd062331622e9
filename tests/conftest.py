"""Bakes of the template: what every test of it stands on."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType

import pytest

from tests import services

TEMPLATE = Path(__file__).resolve().parents[1]
PROJECT = "{{cookiecutter.project}}"
# A home of its own keeps cookiecutter's replay files, Git's identity and the person's settings out of the tests.
NOBODY = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "PYTHONIOENCODING": "utf-8"}
WITHOUT = {"PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "EMAIL"}


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

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the project; the caller looks at the exit code."""
        return subprocess.run(command, cwd=self.path, env=self.surroundings, capture_output=True, text=True)

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
    kept = {name: value for name, value in os.environ.items() if name not in WITHOUT and not name.startswith("GIT_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
    return kept | NOBODY | {"PATH": path, "HOME": str(home), "USERPROFILE": str(home), "PWD": str(home)} | more


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


@pytest.fixture(scope="session")
def pipeline(template: Path, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """The one real bake: the example, set up in the environment of the tests, its pipeline run.

    It is shared: a test that changes it works on a clone or a copy.
    """
    stands = tmp_path_factory.mktemp("pipeline")
    project = baked(generate(template, stands, setup="here"), stands / "customer-churn")
    assert "left to you" not in project.printed, project.printed
    return project


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
