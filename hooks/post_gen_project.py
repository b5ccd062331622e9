"""Make the new folder a working repository: data, Git, environment, DVC, a first run of the pipeline, a first commit.

Every step is optional. One that fails says why and which command does it by hand, the steps that need it are left
to the person too, and the exit code is 0 in any case: cookiecutter deletes a project whose hook fails.
"""

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

Answers = dict[str, Any]
Command = list[str]

RAW = Path("data", "raw")
INCOMING = Path("data", "incoming")
VENV = Path(".venv")
SCRIPTS = "Scripts" if os.name == "nt" else "bin"
SUPPORTED = ((3, 11), (3, 13))  # what requirements.txt was compiled for
DATA_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
CI_FILES = {"github": Path(".github"), "gitlab": Path(".gitlab-ci.yml")}
# They would make Git work on another repository, or Python import from another place.
FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH")
INIT = (["git", "init", "--quiet"], ["git", "symbolic-ref", "HEAD", "refs/heads/main"])
LAST_LINES = 15
CHUNK = 1 << 20  # bytes


class StepError(Exception):
    """A step that could not be done: why, in a sentence or in the last lines of what it ran."""


@dataclass(frozen=True)
class Step:
    """One thing to do: `run` does it and returns a remark, `by_hand` is the command that does the same."""

    name: str
    run: Callable[[], str]
    by_hand: str
    needs: tuple[str, ...] = ()
    loud: bool = False  # it speaks for itself while it runs


# ---- speaking and running


def say(text: str = "", end: str = "\n") -> None:
    """Print at once; if nobody reads any more, go on in silence."""
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        sys.stdout = io.StringIO()


def written(*commands: Command) -> str:
    """The commands as one line for the person's shell."""
    return " && ".join(map(subprocess.list2cmdline if os.name == "nt" else shlex.join, commands))


def run(*commands: Command, show: bool = False) -> str:
    """Run the commands one after the other, seen by the person if `show`; return what they print.

    Raises `StepError` for the first that fails, with its last lines unless they were seen.
    """
    output = ""
    for command in commands:
        program = shutil.which(command[0])
        if program is None:
            raise StepError(f"{command[0]} is not on the PATH: install it first")
        result = subprocess.run(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,  # nobody would see the question
            stdout=None if show else subprocess.PIPE,
            stderr=None if show else subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        output = (result.stdout or "").strip()
        if result.returncode:
            shown = "its own words are above" if show else "\n".join(output.splitlines()[-LAST_LINES:])
            raise StepError(f"{written(command)} ended with exit code {result.returncode}: {shown}")
    return output


def calling(name: str, *commands: Command, needs: tuple[str, ...] = (), show: bool = False) -> Step:
    """A step that is nothing but commands."""

    def without_remark() -> str:
        run(*commands, show=show)
        return ""

    return Step(name, without_remark, written(*commands), needs, loud=show)


# ---- data


def located(path: str, output_dir: str) -> Path:
    """`path` as seen from where the person stands: the calling shell's `$PWD`, else where the project goes."""
    path = os.path.expanduser(path)  # noqa: PTH111 – pathlib raises for an unknown user
    places = [Path(base, path) for base in (os.environ.get("PWD"), output_dir) if base]
    return next((place for place in places if os.path.exists(place)), places[-1])  # noqa: PTH110 – False, not an error


def delivery(name: str) -> Path:
    """Where a file called `name` goes; the stages know a file by its lower-case suffix."""
    suffix = next(suffix for suffix in reversed(DATA_SUFFIXES) if name.lower().endswith(suffix))
    return RAW / (name[: -len(suffix)] + suffix)


def make_room() -> None:
    """Take the example's files away, and keep both folders."""
    for folder in (RAW, INCOMING):
        for file in folder.glob("telco-churn*.csv"):
            file.unlink()


def copy(source: Path, goal: Path) -> str:
    """Copy one's own file in place of the example."""
    make_room()
    shutil.copyfile(source, goal)
    return f"{source} is now {goal.as_posix()}"


def download(url: str, goal: Path) -> str:
    """Fetch `url` in place of the example; nothing half-fetched stands under the final name."""
    make_room()
    part = goal.with_name(goal.name + ".part")
    try:
        with urllib.request.urlopen(url, timeout=60) as response, part.open("wb") as file:  # noqa: S310 – http or https
            size = int(response.headers.get("Content-Length") or 0)
            fetched = 0
            while chunk := response.read(CHUNK):
                fetched += file.write(chunk)
                if sys.stdout.isatty():
                    say(f"\r      {fetched / 1e6:.1f} MB" + (f" of {size / 1e6:.1f}" if size else ""), end="")
        if fetched < size:
            raise StepError(f"{url} broke off after {fetched} of {size} bytes")
        part.replace(goal)
    except (OSError, HTTPException, ValueError) as error:
        raise StepError(f"{url} could not be fetched: {error}") from error
    finally:
        part.unlink(missing_ok=True)
        if sys.stdout.isatty():
            say()
    return f"fetched {goal.as_posix()}, {fetched / 1e6:.1f} MB"


def fetch_with_dvc(command: Command, goal: Path) -> str:
    """Fetch in place of the example what DVC has the protocol for."""
    make_room()
    run(command)
    return f"fetched {goal.as_posix()}"


def data_step(answers: Answers) -> Step:
    """Lay the labelled data into `data/raw/`; the example is there already."""
    source = answers["data"]
    if source == "example":
        return Step("data", lambda: "the example, 7,043 telecom customers", "")
    if "://" not in source:
        path = located(source, answers["_output_dir"])
        goal = delivery(path.name)
        verb = "copy" if os.name == "nt" else "cp"
        return Step("data", partial(copy, path, goal), written([verb, str(path), str(goal)]))
    url = urlsplit(source)
    goal = delivery(re.sub(r"[^\w.-]+", "-", PurePosixPath(unquote(url.path)).name))
    if url.scheme == "s3":
        command = ["python", "-m", "dvc", "get-url", source, str(goal)]
        return Step("data", partial(fetch_with_dvc, command, goal), written(command), needs=("environment",))
    by_hand = written(["curl", "--fail", "--location", "--output", str(goal), source])
    return Step("data", partial(download, source, goal), by_hand, loud=True)


def first_delivery(add: Command) -> Step:
    """Keep the newest rows back, to be watched; done by hand, the versions of the data follow it."""
    command = ["python", "-m", "mlops", "data", "hold-back"]
    return Step("first delivery", lambda: run(command), written(command, add), needs=("schema",))


# ---- Git


def init_repository() -> str:
    """Make the folder a Git repository on `main`; `git init -b` is newer than many a git."""
    if Path(".git").exists():
        return "kept the repository that is here"
    try:
        around = run(["git", "-C", "..", "rev-parse", "--show-toplevel"])
    except StepError:
        around = ""
    run(*INIT)
    return f"its own, inside that of {around}, which should ignore {Path.cwd().name}/" if around else ""


def commit(author: str, message: str) -> str:
    """Commit everything; where Git knows nobody, in the name of the project's author."""
    missing = []
    for key, value in (("user.name", author), ("user.email", f"{Path.cwd().name}@localhost")):
        if subprocess.run(["git", "config", key], capture_output=True, check=False).returncode:
            missing += ["-c", f"{key}={value}"]
    run(["git", "add", "--all"], ["git", *missing, "commit", "--quiet", "--message", message])
    if not missing:
        return ""
    who = run(["git", "log", "-1", "--format=%an <%ae>"])
    return f"Git knows no user.name and user.email of yours, so it is by {who}"


# ---- environment


def install(python: str) -> Command:
    """The command that brings exactly requirements.txt into the environment of `python`, byte-compiled."""
    if shutil.which("uv"):
        tool = ["uv", "pip", "install", "--python", python, "--compile-bytecode"]
    else:
        tool = [python, "-m", "pip", "install", "--disable-pip-version-check", "--compile"]
    return [*tool, "--require-hashes", "--requirement", "requirements.txt"]


def runs_on(version: tuple[int, int]) -> bool:
    """Whether requirements.txt was compiled for this Python."""
    return SUPPORTED[0] <= version <= SUPPORTED[1]


def make_environment(*commands: Command) -> str:
    """Create `.venv` and fill it."""
    with_uv = commands[0][0] == "uv"
    if not (with_uv or runs_on(sys.version_info[:2])):
        lowest, highest = (".".join(map(str, version)) for version in SUPPORTED)
        raise StepError(f"this is Python {sys.version.split()[0]}, and the project takes {lowest} to {highest}")
    run(*commands)
    return f"{VENV}, by {'uv' if with_uv else 'venv and pip'}"


def check_environment() -> str:
    """Let the project say whether this environment is the one of requirements.txt."""
    run(["python", "-m", "mlops.base.environment"])
    return sys.prefix


def environment_step(answers: Answers) -> Step:
    """Make `.venv`, or see that the environment of cookiecutter itself will do."""
    if answers["setup"] == "here":
        return Step("environment", check_environment, written(install(sys.executable)))
    if shutil.which("uv"):
        newest = ".".join(map(str, SUPPORTED[1]))  # which uv fetches if need be
        python = sys.executable if runs_on(sys.version_info[:2]) else newest
        create = ["uv", "venv", "--quiet", "--allow-existing", "--python", python, str(VENV)]
    else:
        create = [sys.executable, "-m", "venv", str(VENV)]
    commands = (create, install(str(VENV / SCRIPTS / "python")))
    return Step("environment", partial(make_environment, *commands), written(*commands))


def scripts(answers: Answers) -> Path:
    """The folder that holds the environment's `python` and `activate`."""
    return Path(sys.executable).parent if answers["setup"] == "here" else Path.cwd() / VENV / SCRIPTS


def enter(folder: Path) -> None:
    """Let all that this process starts run in the environment of `folder`: DVC takes `python` from the PATH."""
    for name in FOREIGN:
        os.environ.pop(name, None)
    os.environ["PATH"] = os.pathsep.join([str(folder), os.environ.get("PATH", "")])
    if folder != Path(sys.executable).parent or sys.prefix != sys.base_prefix:
        os.environ["VIRTUAL_ENV"] = str(folder.parent)


# ---- the whole


def plan(answers: Answers) -> list[Step]:
    """All steps in the order in which they are done, here or by hand."""
    data = data_step(answers)
    environment = environment_step(answers)
    own = answers["data"] != "example" or answers["target"] != "churn"
    ready = ("data", "repository", "environment", "data versions")
    infer = ["python", "-m", "mlops", "schema", "infer", "--target", answers["target"], "--force"]  # not the example's
    message = "Start from cookiecutter-dvc-mlops"
    dvc = ["python", "-m", "dvc"]
    add = [*dvc, "add", "data/raw", "data/incoming"]
    return [
        *([] if data.needs else [data]),
        Step("repository", init_repository, written(*INIT)),
        environment,
        *([data] if data.needs else []),
        *([calling("schema", infer, needs=("data", "environment"), show=True), first_delivery(add)] if own else []),
        calling("data versions", add, needs=ready[:3]),
        calling("pipeline", [*dvc, "repro"], needs=(*ready, "schema") if own else ready, show=True),
        calling("storage", [*dvc, "push"], needs=ready),
        Step(
            "first commit",
            partial(commit, answers["author"], message),
            written(["git", "add", "--all"], ["git", "commit", "--message", message]),
            needs=ready,
        ),
    ]


def carry_out(steps: list[Step], attempted: Callable[[Step], bool]) -> set[str]:
    """Do the steps that are to be attempted, each with its time or its failure; return the names of those done."""
    done: set[str] = set()
    for number, step in enumerate(steps, 1):
        if not attempted(step):
            continue
        label = f"{f'[{number}/{len(steps)}] {step.name} ':.<28} "
        if missing := [name for name in step.needs if name not in done]:
            say(f"{label}left to you, it needs: {', '.join(missing)}")
            continue
        say(label, end="\n" if step.loud else "")
        start = time.monotonic()
        again = label if step.loud else ""
        try:
            remark = step.run()
        except KeyboardInterrupt:
            say(f"{again}interrupted")
            break
        except Exception as error:  # whatever it was: an exit code would delete the project
            reason = str(error).replace("\n", "\n      ")
            say(f"{again}failed after {time.monotonic() - start:.1f} s\n      {reason}\n      By hand: {step.by_hand}")
        else:
            done.add(step.name)
            say(f"{again}{time.monotonic() - start:6.1f} s" + (f"  {remark}" if remark else ""))
    return done


def ending(steps: list[Step], done: set[str], folder: Path) -> None:
    """Say where the project is, which commands are left to do in which order, and what comes next."""
    script = folder / "activate"
    activate = written([str(script)] if os.name == "nt" else ["source", str(script)])
    own = folder.parent == Path.cwd() / VENV
    lines = [written(["cd", str(Path.cwd())])]
    for step in steps:
        if step.name not in done and step.by_hand:
            lines.append(step.by_hand)
        if step.name == "environment" and (own or script.exists()):
            lines.append(activate)
    left = ", but for what is left to you, in this order" if len(done) < len(steps) else ""
    say(f"\n{Path.cwd().name} is ready{left}:\n")
    say("\n".join(f"  {line}" for line in lines))
    say("\nThen:\n")
    say("  dvc repro               run again what a change has touched, and nothing else")
    say("  dvc metrics show        how good the model is")
    say("  python -m mlops --help    what else there is to do")


def main(answers: Answers) -> None:
    """Take away what was not asked for, do the steps, say what comes next."""
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    for ci, path in CI_FILES.items():
        if ci != answers["ci"]:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    folder = scripts(answers)
    enter(folder)
    steps = plan(answers)
    files_only = answers["setup"] == "no"
    done = carry_out(steps, lambda step: not files_only or (step.name == "data" and not step.needs))
    ending(steps, done, folder)


if __name__ == "__main__":
    # Why this is safe for any answer: see pre_gen_project.py.
    main(json.loads(r"""{{ cookiecutter | tojson }}"""))
