"""Set up the new project: data, Git, environment, DVC, a first run of the pipeline, a first commit.

A step that fails prints the reason and the command that does the same by hand, and the steps that need it are not run.
The exit code is always 0, because cookiecutter deletes a project whose hook fails. Under cruft the hook writes files
only: cruft adds `.cruft.json` after the hook, and it also runs the hook to compare two versions of the template.
"""

import hashlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

Answers = dict[str, Any]
Command = list[str]

RAW = Path("data", "raw")
INCOMING = Path("data", "incoming")
EVENTS = Path("data", "events")
EXAMPLE = (RAW / "telco-churn.csv", INCOMING / "telco-churn-next.csv")
MACHINERY = Path("mlops")
MANIFEST = MACHINERY / "MANIFEST"
ORIGIN = Path(".cruft.json")
CRLF, LF = b"\r\n", b"\n"
VENV = Path(".venv")
SCRIPTS = "Scripts" if os.name == "nt" else "bin"
SUPPORTED = ((3, 11), (3, 13))  # what requirements.txt was compiled for
DATA_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
CI_FILES = {"github": Path(".github"), "gitlab": Path(".gitlab-ci.yml")}
COMPARE = "MLOPS_COMPARE"  # set by `python -m mlops upgrade`
# The name of a temporary folder that Python makes, as cruft does. That of `mktemp -d` has a dot.
TEMPORARY = re.compile(r"tmp[a-z0-9_]{8}")
# With these variables Git would use another repository, or Python would import from another folder.
FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH")
INIT = (["git", "init", "--quiet"], ["git", "symbolic-ref", "HEAD", "refs/heads/main"])
FIRST_COMMIT = "Start from cookiecutter-dvc-mlops"
# What this hook and DVC write for Git; it may be there already, when a generation is tried again.
WRITTEN = re.compile(
    r"dvc\.lock|\.dvc/.*|data/(raw|incoming|events)\.dvc|data/events/README\.md|(data|data/prepared|models|reports)/\.gitignore"
    r"|mlops/MANIFEST|\.cruft\.json"
)
RESULT = re.compile(r"\b(?:data/prepared|models|reports)/[\w./-]+")  # what the pipeline writes, in dvc.yaml
LAST_LINES = 15
CHUNK = 1 << 20  # bytes
MOST_BYTES = 5_000_000_000  # of a download


class StepError(Exception):
    """A step failed. The message is a sentence, or the last lines that its command printed."""


@dataclass(frozen=True)
class Step:
    """One step of the setup. `run` does it and returns a remark; `by_hand` is the command that does the same.

    `after_failure` is the command in its place when `run` has failed, where the same one would fail again.
    """

    name: str
    run: Callable[[], str]
    by_hand: str
    needs: tuple[str, ...] = ()
    loud: bool = False  # it prints lines of its own while it runs
    after_failure: str = ""


# ---- Under cruft


def run_by_cruft(answers: Answers) -> bool:
    """Whether cruft runs this hook: cookiecutter always sets `_output_dir`, and cruft never does."""
    return "_output_dir" not in answers


def rendered_to_compare(answers: Answers) -> bool:
    """Whether the project is rendered only to compare two versions: by `python -m mlops upgrade`, or by cruft.

    `cruft update` and `cruft diff` do so in a temporary folder; `cruft create` writes to the person's own.
    """
    if os.environ.get(COMPARE):
        return True
    parent = Path.cwd().resolve().parent
    temporary = parent.parent == Path(tempfile.gettempdir()).resolve() and TEMPORARY.fullmatch(parent.name)
    return run_by_cruft(answers) and bool(temporary)


# ---- Output and commands


def say(text: str = "", end: str = "\n") -> None:
    """Print at once. If the reader has closed the pipe, print nothing more and go on."""
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        sys.stdout = io.StringIO()


def shell_line(*commands: Command) -> str:
    """The commands as one line that can be pasted into a shell."""
    return " && ".join(map(subprocess.list2cmdline if os.name == "nt" else shlex.join, commands))


def run(*commands: Command, show: bool = False) -> str:
    """Run the commands in order and return the output of the last one; `show` sends the output to the terminal instead.

    Raises `StepError` for the first command that fails, with its last lines of output unless they were shown.
    """
    output = ""
    for command in commands:
        program = shutil.which(command[0])
        if program is None:
            raise StepError(f"{command[0]} is not on the PATH: install it first")
        result = subprocess.run(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,  # a question would not be seen
            stdout=None if show else subprocess.PIPE,
            stderr=None if show else subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        output = (result.stdout or "").strip()
        if result.returncode:
            shown = "its output is above" if show else "\n".join(output.splitlines()[-LAST_LINES:])
            raise StepError(f"{shell_line(command)} ended with exit code {result.returncode}: {shown}")
    return output


def command_step(name: str, *commands: Command, needs: tuple[str, ...] = (), show: bool = False) -> Step:
    """A step that only runs commands."""

    def run_commands() -> str:
        run(*commands, show=show)
        return ""

    return Step(name, run_commands, shell_line(*commands), needs, loud=show)


# ---- Data


def located(path: str, answers: Answers) -> Path:
    """The absolute form of `path`. The hook runs in the new project, so `path` is not relative to its own folder.

    It is relative to the calling shell's `$PWD` (Windows has none), or else to the folder that the project goes into.
    """
    path = os.path.expanduser(path)  # noqa: PTH111 – pathlib raises for an unknown user
    output_dir = answers.get("_output_dir", str(Path.cwd().parent))
    places = [Path(base, path) for base in (os.environ.get("PWD"), output_dir) if base]
    return next((place for place in places if os.path.exists(place)), places[-1])  # noqa: PTH110 – False, not an error


def raw_path(name: str) -> Path:
    """The path of a data file below `data/raw/`. Its suffix becomes lower case, as the stages expect it."""
    suffix = next(suffix for suffix in reversed(DATA_SUFFIXES) if name.lower().endswith(suffix))
    return RAW / (name[: -len(suffix)] + suffix)


def remove_example() -> None:
    """Delete the example's data files, and keep both folders."""
    for file in EXAMPLE:
        file.unlink(missing_ok=True)


def unfinished() -> Path:
    """The file beside the project that lasts as long as its generation; pre_gen_project.py writes it."""
    return Path.cwd().with_name(f"{Path.cwd().name}.unfinished")


def make_way(goal: Path) -> None:
    """Delete the example for the person's own file, and note its name: if this is killed, the next try removes it."""
    remove_example()
    if unfinished().exists():
        with unfinished().open("a", encoding="utf-8") as file:
            file.write(f"# {goal.name}\n")


def aside() -> list[tuple[Path, Path]]:
    """What pre_gen_project.py has moved out of the way of this generation: where it is now, and where it was."""
    if not unfinished().exists():
        return []
    noted = re.findall(r"^#aside (.+)$", unfinished().read_text(encoding="utf-8"), re.MULTILINE)
    pairs = [(Path(goal), Path(name)) for goal, name in map(json.loads, noted)]
    return [(goal, name) for goal, name in pairs if there(goal)]


def there(path: Path) -> bool:
    """Whether there is anything, be it a link to nothing."""
    return path.is_symlink() or path.exists()


def forget_equals(moved: list[tuple[Path, Path]], source: Path | None) -> None:
    """Delete each moved file that is the same as what was generated in its place, but never the data's `source`."""
    for goal, name in moved:
        same = goal.is_file() and name.is_file() and goal.read_bytes() == name.read_bytes()
        if same and Path.cwd() / goal != source:
            goal.unlink()
            for folder in list(goal.parents)[:-1]:
                with suppress(OSError):  # it is not empty
                    folder.rmdir()


def untrack(moved: list[tuple[Path, Path]], answers: Answers) -> None:
    """Take out of Git's index, and of nothing else, what DVC is to keep: the data, and results that were moved."""
    if moved and Path(".git").exists():
        files = rendered(answers)
        names = [folder.as_posix() for folder in (RAW, INCOMING, EVENTS)]
        names += [name.as_posix() for _, name in moved if name.as_posix() not in files]
        with suppress(StepError):
            run(["git", "rm", "-r", "--cached", "--quiet", "--ignore-unmatch", "--", *names])


def make_events_folder() -> None:
    """Make the folder of events. DVC, which keeps it, warns in each run of an empty one; only named files are read."""
    EVENTS.mkdir(parents=True, exist_ok=True)
    (EVENTS / "README.md").write_text(
        "Events that columns are made of; see docs/features.md\n", encoding="utf-8", newline="\n"
    )


def copy(source: Path, goal: Path) -> str:
    """Replace the example by a copy of the person's own file."""
    if source.resolve() != goal.resolve():
        make_way(goal)
        shutil.copyfile(source, goal)
    return f"copied {source} to {goal.as_posix()}"


def download(url: str, goal: Path) -> str:
    """Replace the example by the file at `url`. An incomplete download never has the final name."""
    make_way(goal)
    part = goal.with_name(goal.name + ".part")
    try:
        with urllib.request.urlopen(url, timeout=60) as response, part.open("wb") as file:  # noqa: S310 – http or https
            size = int(response.headers.get("Content-Length") or 0)
            fetched = 0
            while chunk := response.read(CHUNK):
                fetched += file.write(chunk)
                if fetched > MOST_BYTES:
                    raise StepError(f"{url} has more than {MOST_BYTES / 1e9:g} GB: is that right?")
                if sys.stdout.isatty():
                    say(f"\r      {fetched / 1e6:.1f} MB" + (f" of {size / 1e6:.1f}" if size else ""), end="")
        if fetched < size:
            raise StepError(f"{url} ended after {fetched} of {size} bytes")
        part.replace(goal)
    except (OSError, HTTPException, ValueError) as error:
        raise StepError(f"{url} could not be downloaded: {error}") from error
    finally:
        part.unlink(missing_ok=True)
        if sys.stdout.isatty():
            say()
    return f"downloaded {goal.as_posix()}, {fetched / 1e6:.1f} MB"


def fetch_with_dvc(command: Command, goal: Path) -> str:
    """Replace the example by a file that DVC downloads."""
    make_way(goal)
    run(command)
    return f"downloaded {goal.as_posix()}"


def own_data(answers: Answers, moved: list[tuple[Path, Path]]) -> Path | None:
    """The person's own file, where it is now; None for the example and a URL."""
    if answers["data"] == "example" or "://" in answers["data"]:
        return None
    path = located(answers["data"], answers)
    here = Path.cwd().resolve()
    for place in (path.parent.resolve() / path.name, path.resolve()):
        for goal, name in moved:
            if (here / name) in (place, *place.parents):
                return Path.cwd() / goal / place.relative_to(here / name)
    return path


def data_step(answers: Answers, moved: list[tuple[Path, Path]]) -> Step:
    """The step that puts the labelled data into `data/raw/`. The example is already there."""
    source = answers["data"]
    if source == "example":
        return Step("data", lambda: "the example, 7,043 telecom customers", "")
    if path := own_data(answers, moved):
        goal = raw_path(path.name)
        verb = "copy" if os.name == "nt" else "cp"
        return Step("data", partial(copy, path, goal), shell_line([verb, str(path), str(goal)]))
    url = urlsplit(source)
    goal = raw_path(re.sub(r"[^\w.-]+", "-", PurePosixPath(unquote(url.path)).name))
    if url.scheme == "s3":
        command = ["python", "-m", "dvc", "get-url", source, str(goal)]
        return Step("data", partial(fetch_with_dvc, command, goal), shell_line(command), needs=("environment",))
    by_hand = shell_line(["curl", "--fail", "--location", "--output", str(goal), source])
    return Step("data", partial(download, source, goal), by_hand, loud=True)


def first_delivery(add: Command) -> Step:
    """The step that keeps some rows back for monitoring. By hand, `add` records the changed data after it."""
    command = ["python", "-m", "mlops", "data", "hold-back"]
    return Step("first delivery", lambda: run(command), shell_line(command, add), needs=("schema",))


# ---- Git


def init_repository(foreign: set[str]) -> str:
    """Make the folder a Git repository on branch `main`. Old versions of Git lack `git init -b`."""
    remark = "the folder is already a repository"
    if not Path(".git").exists():
        try:
            around = run(["git", "-C", "..", "rev-parse", "--show-toplevel"])
        except StepError:
            around = ""
        run(*INIT)
        remark = f"a repository inside that of {around}, which should ignore {Path.cwd().name}/" if around else ""
    refuse_hidden(foreign)
    return remark


def rendered(answers: Answers) -> set[str]:
    """The files that cookiecutter has rendered, relative to the project."""
    folders = located(answers["_repo_dir"], answers).glob("*cookiecutter.project*")
    return {file.relative_to(folder).as_posix() for folder in folders for file in folder.rglob("*") if file.is_file()}


def remove_rendered(path: Path, answers: Answers) -> None:
    """Delete a file or folder, but nothing in it that a person had here before."""
    own = rendered(answers) if "_repo_dir" in answers else None
    for file in sorted(path.rglob("*"), reverse=True) if path.is_dir() else [path]:
        if file.is_file() and (not own or file.as_posix() in own):
            file.unlink()
        elif file.is_dir() and not any(file.iterdir()):
            file.rmdir()
    if path.is_dir() and not any(path.iterdir()):
        path.rmdir()


def results(answers: Answers) -> set[str]:
    """The files and folders that the pipeline writes, by the template's dvc.yaml."""
    pipelines = located(answers["_repo_dir"], answers).glob("*cookiecutter.project*/dvc.yaml")
    return {name for pipeline in pipelines for name in RESULT.findall(pipeline.read_text(encoding="utf-8"))}


def lying_here(answers: Answers) -> set[str]:
    """The files of the folder that are not the project's: neither rendered, nor written by DVC and the pipeline."""
    if "_repo_dir" not in answers:  # under cruft, which makes no commit
        return set()
    own, made = rendered(answers), results(answers)
    if not own:  # the template was not found, as its path is relative to an unknown folder: nothing counts as foreign
        return set()
    tops = (top for top in Path().iterdir() if top.name not in (".git", VENV.name))  # .venv has 50,000 files
    files = (path for top in tops for path in (top, *top.rglob("*")) if path.is_file() or path.is_symlink())
    others = {path for path in files if path.as_posix() not in own}
    names = {path.as_posix() for path in others if made.isdisjoint(map(Path.as_posix, (path, *path.parents)))}
    return {name for name in names if not WRITTEN.fullmatch(name)}


def ignored(names: list[str]) -> set[str]:
    """Those of the files and folders that Git ignores."""
    with tempfile.TemporaryDirectory() as store, suppress(StepError):  # none is an error, too
        if not Path(".git").exists():
            run(["git", "init", "--quiet", "--bare", store])
        where = [] if Path(".git").exists() else [f"--git-dir={store}", "--work-tree=."]
        plain = ["-c", "core.quotePath=false"]
        return set(run(["git", *plain, *where, "check-ignore", "--no-index", "--", *names]).splitlines())
    return set()


def commit_by_hand(foreign: set[str], moved: list[tuple[Path, Path]], answers: Answers) -> str:
    """The commands of the first commit: of everything, or of all but what is the person's, by whole folders.

    What was moved and is not made anew has been deleted, and to commit this is the person's, too.
    """
    message = ["git", "commit", "--message", FIRST_COMMIT]
    if not foreign:
        return shell_line(["git", "add", "--all"], message)
    own, made = rendered(answers), results(answers)
    shared = {folder for name in own | made for folder in Path(name).parents}
    gone = {name for _, name in moved if not there(name) and name.as_posix() not in made}
    left = {name for name in gone if not WRITTEN.fullmatch(name.as_posix())}
    for name in map(Path, foreign):
        left.add(next(place for place in (*reversed(name.parents), name) if place not in shared))
    # `git add` fails at the name of what is ignored, even where that is to be left out.
    hidden = ignored([path.as_posix() for path in left])
    seen = {path for path in left if path.as_posix() not in hidden and not {RAW, INCOMING, EVENTS} & set(path.parents)}
    add, only = (
        ["--", ".", *(f":(exclude,literal){path.as_posix()}" for path in sorted(paths))] for paths in (seen, left)
    )
    return shell_line(["git", "add", *add], [*message, *only])


def listed(*options: str) -> set[str]:
    """The files that `git ls-files` lists, those of the environment aside."""
    return set(run(["git", "ls-files", "-z", *options, "--", ".", f":(exclude){VENV}"]).split("\0")) - {""}


def refuse_hidden(foreign: set[str]) -> None:
    """Raise an error that names files which Git ignores by a rule that is not the project's own."""
    ignored = listed("--others", "--ignored", "--exclude-standard")
    hidden = sorted(ignored - listed("--others", "--ignored", "--exclude-per-directory=.gitignore") - foreign)
    if hidden:
        rule = run(["git", "check-ignore", "--verbose", "--", hidden[0]]).split("\t")[0]
        others = f" and {len(hidden) - 1} more of the project's files" if len(hidden) > 1 else ""
        raise StepError(
            f"Git ignores {hidden[0]}{others} by the rule {rule}: take the rule out there, or take them out of "
            f"it by lines such as !/{hidden[0]} in .gitignore"
        )


def commit(answers: Answers) -> str:
    """Commit the project's files, and nothing else that lies in the folder or is staged.

    If Git has no user name, the project's author is the author of the commit.
    """
    foreign = lying_here(answers)  # now: the person may have made files while the pipeline ran
    refuse_hidden(foreign)
    # By DVC, or by somebody else. Git may ignore what was untracked for DVC.
    staged = run(["git", "diff", "--cached", "--name-only", "--diff-filter=d", "-z"]).split("\0")
    changed = {*listed("--others", "--modified", "--exclude-standard"), *staged} - foreign - {""}
    own = sorted(name for name in changed if Path(name).exists())
    if not own:
        return "there is nothing to commit"
    missing = []
    for key, value in (("user.name", answers["author"]), ("user.email", f"{Path.cwd().name}@localhost")):
        if subprocess.run(["git", "config", key], capture_output=True, check=False).returncode:
            missing += ["-c", f"{key}={value}"]
    run(["git", "add", "--", *own], ["git", *missing, "commit", "--quiet", "--message", FIRST_COMMIT, "--", *own])
    if not missing:
        return ""
    who = run(["git", "log", "-1", "--format=%an <%ae>"])
    return f"Git has no user.name or user.email, so the author is {who}"


def write_manifest(answers: Answers) -> None:
    """Write which files of mlops/ were generated, with their SHA-256, so that `doctor` can name local edits of them."""
    own = rendered(answers) if "_repo_dir" in answers else None
    paths = (path for path in MACHINERY.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    generated = (path for path in paths if path != MANIFEST and (not own or path.as_posix() in own))
    entries = sorted((path.relative_to(MACHINERY).as_posix(), path) for path in generated)
    lines = [f"{hashlib.sha256(path.read_bytes().replace(CRLF, LF)).hexdigest()}  {name}\n" for name, path in entries]
    with suppress(OSError):  # without it, `doctor` says that it cannot tell
        MANIFEST.write_text("".join(lines), encoding="utf-8", newline="\n")


def public(address: str) -> str:
    """An address without a password, and without a name but that of SSH, which needs it."""
    address = re.sub(r"(ssh://[^/\s:@]*):[^/\s]*@", r"\1@", address)
    return re.sub(r"(?<!ssh:)//[^/\s]*@", "//", address)


def write_origin(answers: Answers) -> None:
    """Write which commit of the template this project comes from and the answers, as cruft does: upgrades need both.

    A template that has uncommitted changes, or is no repository, is no commit that could be had again.
    """
    template = located(answers.get("_repo_dir", ""), answers)
    try:
        commit = run(["git", "-C", str(template), "rev-parse", "HEAD"])
        top = run(["git", "-C", str(template), "rev-parse", "--show-toplevel"])
        if Path(top).resolve() != template.resolve() or run(["git", "-C", str(template), "status", "--porcelain"]):
            return
        url = str(template)
        if not located(answers["_template"], answers).exists():  # it was cloned for this generation
            url = public(run(["git", "-C", url, "remote", "get-url", "origin"]))
    except StepError:
        return
    given = {name: value for name, value in answers.items() if not name.startswith("_")}
    facts = {"template": url, "commit": commit, "checkout": answers.get("_checkout") or None}
    facts |= {"context": {"cookiecutter": given}, "directory": None}
    ORIGIN.write_text(f"{json.dumps(facts, indent=2, ensure_ascii=False)}\n", encoding="utf-8", newline="\n")


# ---- Environment


def install(python: str) -> Command:
    """The command that installs requirements.txt into the environment of `python` and byte-compiles it."""
    if shutil.which("uv"):
        tool = ["uv", "pip", "install", "--python", python, "--compile-bytecode"]
    else:
        tool = [python, "-m", "pip", "install", "--disable-pip-version-check", "--compile"]
    return [*tool, "--require-hashes", "--requirement", "requirements.txt"]


def runs_on(version: tuple[int, int]) -> bool:
    """Whether requirements.txt was compiled for this Python."""
    return SUPPORTED[0] <= version <= SUPPORTED[1]


def make_environment(*commands: Command) -> str:
    """Create `.venv` and install the packages into it."""
    with_uv = commands[0][0] == "uv"
    if not (with_uv or runs_on(sys.version_info[:2])):
        lowest, highest = (".".join(map(str, version)) for version in SUPPORTED)
        raise StepError(f"this is Python {sys.version.split()[0]}, and the project needs {lowest} to {highest}")
    run(*commands)
    return f"{VENV}, by {'uv' if with_uv else 'venv and pip'}"


def check_environment() -> str:
    """Check with the project's own code that this environment has the packages of requirements.txt."""
    run(["python", "-m", "mlops.base.environment"])
    return sys.prefix


def environment_step(answers: Answers) -> Step:
    """The step that makes `.venv`, or checks the environment that cookiecutter runs in."""
    if answers["setup"] == "here":
        return Step("environment", check_environment, shell_line(install(sys.executable)))
    if shutil.which("uv"):
        newest = ".".join(map(str, SUPPORTED[1]))  # uv downloads it if it is missing
        python = sys.executable if runs_on(sys.version_info[:2]) else newest
        create = ["uv", "venv", "--quiet", "--allow-existing", "--python", python, str(VENV)]
    else:
        create = [sys.executable, "-m", "venv", str(VENV)]
    commands = (create, install(str(VENV / SCRIPTS / "python")))
    return Step("environment", partial(make_environment, *commands), shell_line(*commands))


def scripts_folder(answers: Answers) -> Path:
    """The folder that holds the environment's `python` and `activate`."""
    return Path(sys.executable).parent if answers["setup"] == "here" else Path.cwd() / VENV / SCRIPTS


def activate(folder: Path) -> None:
    """Activate the environment of `folder` for all commands of this process. DVC finds `python` on the PATH."""
    for name in FOREIGN:
        os.environ.pop(name, None)
    os.environ["PATH"] = os.pathsep.join([str(folder), os.environ.get("PATH", "")])
    if folder != Path(sys.executable).parent or sys.prefix != sys.base_prefix:
        os.environ["VIRTUAL_ENV"] = str(folder.parent)


# ---- The whole setup


def plan(answers: Answers, foreign: set[str], moved: list[tuple[Path, Path]]) -> list[Step]:
    """All steps in the order in which they run, here or by hand; `foreign` files in the folder are left alone."""
    data = data_step(answers, moved)
    environment = environment_step(answers)
    own = answers["data"] != "example" or answers["target"] != "churn"
    ready = ("data", "repository", "environment", "data versions")
    # --force replaces the example's schema. The target may be mistyped: after a failure it is left open.
    targets = (answers["target"], "COLUMN")
    infer, again = (["python", "-m", "mlops", "schema", "infer", "--target", name, "--force"] for name in targets)
    dvc = ["python", "-m", "dvc"]
    add = [*dvc, "add", "data/raw", "data/incoming", "data/events"]
    schema = command_step("schema", infer, needs=("data", "environment"), show=True)
    schema = replace(schema, after_failure=shell_line(again))
    described = (*ready, "schema") if own else ready  # without it, schema.yaml is that of the example
    return [
        *([] if data.needs else [data]),
        Step("repository", partial(init_repository, foreign), "" if there(Path(".git")) else shell_line(*INIT)),
        environment,
        *([data] if data.needs else []),
        *([schema, first_delivery(add)] if own else []),
        command_step("data versions", add, needs=ready[:3]),
        command_step("pipeline", [*dvc, "repro"], needs=described, show=True),
        command_step("storage", [*dvc, "push"], needs=described),
        Step(
            "first commit",
            partial(commit, answers),
            commit_by_hand(foreign, moved, answers),
            needs=described,
        ),
    ]


def run_steps(steps: list[Step], wanted: Callable[[Step], bool]) -> set[str]:
    """Run the steps that are `wanted`, print the time or the failure of each, and return the names of those done."""
    done: set[str] = set()
    for number, step in enumerate(steps, 1):
        if not wanted(step):
            continue
        label = f"{f'[{number}/{len(steps)}] {step.name} ':.<28} "
        if missing := [name for name in step.needs if name not in done]:
            say(f"{label}left to you, since it needs: {', '.join(missing)}")
            continue
        say(label, end="\n" if step.loud else "")
        start = time.monotonic()
        again = label if step.loud else ""
        try:
            remark = step.run()
        except KeyboardInterrupt:
            say(f"{again}interrupted")
            break
        except Exception as error:  # any error: an exit code would delete the project
            reason = str(error).replace("\n", "\n      ")
            step = steps[number - 1] = replace(step, by_hand=step.after_failure or step.by_hand)
            by_hand = f"\n      By hand: {step.by_hand}" if step.by_hand else ""
            say(f"{again}failed after {time.monotonic() - start:.1f} s\n      {reason}{by_hand}")
        else:
            done.add(step.name)
            say(f"{again}{time.monotonic() - start:6.1f} s" + (f"  {remark}" if remark else ""))
    return done


def why_no_version() -> str:
    """Which rules of the gate keep the result of the pipeline from being registered; "" if none does."""
    report = Path("reports", "registration.json")
    rules = json.loads(report.read_text(encoding="utf-8"))["rules"] if report.is_file() else []
    failed = []
    for rule in (rule for rule in rules if not rule["passed"]):
        value = "undefined" if rule["actual"] is None else f"{rule['actual']:.4f}"
        told = rule["note"] or f"{rule['measured']} is {value}, expected {rule['comparison']} {rule['limit']:g}"
        failed.append(f"  {rule['rule']}: {told}")
    return "\n".join(failed)


def tell_what_was_moved(moved: list[tuple[Path, Path]]) -> None:
    """Print where each thing is that was in the way."""
    data = [goal.as_posix() for goal, _ in moved if goal.parts[0] == "data"]
    if data:
        say(f"\nData of yours lay where the project keeps its own, and was moved to {', '.join(data)}.")
    places: dict[str, list[str]] = {}
    for goal, _ in moved:
        if goal.parts[0] != "data":
            link = f" (a link to {goal.readlink()})" if goal.is_symlink() else ""
            places.setdefault(goal.parts[0], []).append(f"{goal.relative_to(goal.parts[0]).as_posix()}{link}")
    for place, names in places.items():
        say(f"\nFiles of yours where the project has or makes its own are in {place}/ now: {', '.join(names)}.")
    if places:
        say("Take over what you need, and before the next `git add` the rules of .gitattributes. Name your data files")
        say("in .gitignore again, one by one: a rule for all of data/, models/ or reports/ would stop DVC.")


def tell_of_another_branch() -> None:
    """Print that GitHub runs nothing for this branch, which is not the one that the workflows name."""
    with suppress(StepError):
        branch = run(["git", "symbolic-ref", "--short", "HEAD"])
        if branch != "main" and CI_FILES["github"].exists():
            say(f"\nThis branch is {branch}, and the workflows in .github/ are for main: `git branch -m main`.")


def print_next_commands(steps: list[Step], done: set[str], folder: Path, moved: list[tuple[Path, Path]]) -> None:
    """Print where the project is, the commands that are left in their order, and what comes next."""
    script = folder / "activate"
    activation = shell_line([str(script)] if os.name == "nt" else ["source", str(script)])
    own = folder.parent == Path.cwd() / VENV
    lines = [shell_line(["cd", str(Path.cwd())])]
    by_hand = [step.by_hand for step in steps if step.name not in done and step.by_hand]
    for step in steps:
        if step.by_hand in by_hand:
            once, joined, last = step.by_hand.rpartition(" && ")
            lines.append(once if joined and last in by_hand else step.by_hand)  # the end is a step of its own
        if step.name == "environment" and (own or script.exists()):
            lines.append(activation)
    left = ", except for the steps that are left to you, in this order" if len(done) < len(steps) else ""
    say(f"\n{Path.cwd().name} is ready{left}:\n")
    say("\n".join(f"  {line}" for line in lines))
    tell_what_was_moved(moved)
    say("\nThen:\n")
    say("  dvc repro                run again what a change affects, and nothing else")
    say("  dvc metrics show         show how good the model is")
    say("  python -m mlops status   say how all stands, and what to do next")
    say("  python -m mlops --help   list all other commands")


def main(answers: Answers) -> None:
    """Delete the files that were not asked for, run the steps, print what comes next."""
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    source = own_data(answers, aside())
    forget_equals(aside(), source)  # with files that are deleted next, too
    for ci, path in CI_FILES.items():
        if ci != answers["ci"]:
            remove_rendered(path, answers)
    write_manifest(answers)  # under cruft, too, which then merges it like every other file
    if rendered_to_compare(answers):
        if answers["data"] != "example":
            remove_example()
        return
    if not run_by_cruft(answers):
        write_origin(answers)
    make_events_folder()
    folder = scripts_folder(answers)
    activate(folder)
    forget_equals(aside(), source)  # with files that were written since, too
    moved = aside()
    untrack(moved, answers)
    foreign = lying_here(answers)
    steps = plan(answers, foreign, moved)
    if run_by_cruft(answers) and answers["setup"] != "no":
        say("The setup is left to you: cruft adds .cruft.json after this hook, and the first commit needs it.")
    files_only = answers["setup"] == "no" or run_by_cruft(answers)
    done = run_steps(steps, lambda step: not files_only or (step.name == "data" and not step.needs))
    print_next_commands(steps, done, folder, moved)
    if answers["ci"] == "github" and there(Path(".git")):
        tell_of_another_branch()
    if "pipeline" in done and (failed := why_no_version()):
        say(f"\nNo version of the model was registered, for the gate failed:\n{failed}\n")
        say("See reports/evaluation.html; change the data, project/ or params.yaml (register.gate has the rules), and")
        say("`dvc repro` judges and registers the new result.")
    unfinished().unlink(missing_ok=True)


if __name__ == "__main__":
    # pre_gen_project.py says why this is safe for any answer.
    main(json.loads(r"""{{ cookiecutter | tojson }}"""))
