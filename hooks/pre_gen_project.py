"""Refuse answers that no project can be made from. All of them are named at once, before any file is written."""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

Answers = dict[str, Any]

DATA_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
DATA_SCHEMES = ("http", "https", "s3")
REMOTE_SCHEMES = ("s3", "gs", "azure", "ssh", "http", "https", "webdav", "webdavs", "gdrive", "oss", "hdfs", "webhdfs")
TRACKING_SCHEMES = ("http", "https", "postgresql", "mysql", "mssql", "sqlite", "databricks")
WEB_SCHEMES = ("http", "https", "webdav", "webdavs")

# On Windows these names are devices, with any extension.
DEVICES = {"con", "prn", "aux", "nul"} | {f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10)}
# GitHub allows 100 characters. Windows allows 260 for a whole path, and the project's own files need some of them.
LONGEST_NAME = 100
SECRET_IN_QUERY = re.compile(r"[?&;](password|passwd|pwd|secret|token|sig|signature|\w*key)=", re.IGNORECASE)
ABSOLUTE_SQLITE = "sqlite:////"  # what the project's own code takes
OTHER_REPOSITORY = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")  # set where a Git hook calls
# What DVC, Git and cookiecutter may have been killed in the middle of.
HALF_WRITTEN = (
    "dvc.lock",
    ".git/index.lock",
    "data/raw.dvc",
    "data/incoming.dvc",
    "data/events.dvc",
    "data/raw/telco-churn.csv",
    "data/incoming/telco-churn-next.csv",
)
MANIFEST = Path("mlops", "MANIFEST")  # written by each generation once its files are there
VENV = Path(".venv")
DATA_FOLDERS = (Path("data", "raw"), Path("data", "incoming"), Path("data", "events"))
EVENTS_README = Path("data", "events", "README.md")
# What the last hook, DVC and the tracking store write into a project. What the pipeline writes is in dvc.yaml.
WRITTEN = {"dvc.lock", "data/raw.dvc", "data/incoming.dvc", "data/events.dvc", ".cruft.json", MANIFEST.as_posix()}
WRITTEN |= {"mlflow.db", "mlflow.db-shm", "mlflow.db-wal", "mlflow.db-journal"}
RESULT = re.compile(r"\b(?:data/prepared|models|reports)/[\w./-]+")
RESULT_IN_GIT = re.compile(r"\b(reports/[\w./-]+): \{cache: false\}")
RULES_OF_DVC = {f"{folder}/.gitignore" for folder in ("data", "data/prepared", "models", "reports")}
BEFORE = "before"  # where files of a person go
# The subject of the commit that a generation ends with.
FIRST_COMMIT = "Start from cookiecutter-dvc-mlops"
COMPARE = "MLOPS_COMPARE"  # set by `python -m mlops upgrade`
# The name of a temporary folder that Python makes, as cruft does. That of `mktemp -d` has a dot.
TEMPORARY = re.compile(r"tmp[a-z0-9_]{8}")


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


# ---- Checks: each returns why an answer cannot be used, as the end of a sentence, or "" if it can be used.


def one_line(text: str) -> str:
    """Why `text` cannot be one line of a text file."""
    # YAML has no U+FFFE and U+FFFF.
    if any(
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in "\ufffe\uffff" for character in text
    ):
        return "contains a line break, a control character or an invalid character; write it on one line"
    if "${" in text:
        return "contains '${', which `dvc exp run -S` takes for a variable in params.yaml; leave it out"
    return ""


def filled(text: str) -> str:
    """Why `text` cannot be a name."""
    return one_line(text) or ("" if text.strip() else "is empty; give it a name")


def author(text: str) -> str:
    """Why `text` cannot be the author of a commit. Git drops punctuation from both ends of a name."""
    return filled(text) or ("" if text.strip(" .,:;<>\"\\'") else "is not a name that Git accepts; give it a letter")


def folder_name(name: str) -> str:
    """Why `name` cannot be a folder and a repository on Linux, macOS, Windows, GitHub and GitLab."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:LONGEST_NAME].rstrip("-") or "project"
    if plain in DEVICES or plain.endswith("-git"):
        plain = f"{plain.removesuffix('-git')}-project"
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", name):
        return (
            "is not a folder and repository name on every system: use letters A to Z, digits, and between them "
            f"'-', '_' and '.'; {plain!r} would do"
        )
    if len(name) > LONGEST_NAME:
        return f"has {len(name)} characters, and a repository name has at most {LONGEST_NAME}; {plain!r} would do"
    if name.lower().split(".")[0] in DEVICES:
        return f"is the name of a device on Windows; {plain!r} would do"
    if name.lower().endswith((".git", ".atom")):
        return f"ends with a suffix that Git hosts reserve; {plain!r} would do"
    return ""


def in_use(answers: Answers) -> str:
    """Why this folder, which `-f` lets cookiecutter write into, cannot take the project in without a loss."""
    if rendered_to_compare(answers) or not any(Path().iterdir()):
        return ""
    if run_by_cruft(answers):
        return "is a folder with files, which cruft would overwrite; use `cookiecutter --overwrite-if-exists` instead"
    names = rendered(answers)
    if not names:
        return "is a folder with files, and the template, which names those to keep, is not found; write its full path"
    if not Path(".git").exists() and git("ls-files"):
        around = git("rev-parse", "--show-toplevel")
        return (
            f"is a folder of the repository {around!r}, which has files in it, and a project is a repository of "
            "its own; choose a new name to make it beside the folder, or make it of the whole repository"
        )
    last = last_commit()
    if last == FIRST_COMMIT:
        edited = set(listed("diff", "--name-only", "--diff-filter=d", "--relative", "-z", "HEAD"))
        if edited := edited & (names | WRITTEN | results(answers)):
            return (
                f"has changes that are not committed in {', '.join(sorted(edited))}, which would be overwritten; put "
                "them aside by `git stash`, or choose another name"
            )
    elif len(git("ls-tree", "--name-only", "HEAD", "dvc.yaml", "schema.yaml", "mlops").split()) == 3:
        return (
            f"is a project with commits of its own, the last one {last!r}, and would be overwritten; choose another "
            "name, or bring it up to date by `python -m mlops upgrade` (see its docs/upgrade.md)"
        )
    names |= results(answers) | {EVENTS_README.as_posix()}
    folders = {folder for name in names for folder in Path(name).parents}
    if links := sorted(str(folder) for folder in folders if folder.is_symlink() and folder.is_dir()):
        return f"has a link to another folder, {links[0]}, which the project would write into; rename the link first"
    if answers.get("setup") == "yes" and VENV.exists() and not made_here():
        return f"has an environment of yours, {VENV}, which setup=yes would change; rename it, or answer 'here' or 'no'"
    return ""


def split(url: str) -> SplitResult | None:
    """The parts of `url`, or None if it has no scheme or is not a valid URL. A drive letter is not a scheme."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts if "://" in url and parts.scheme else None


def carries_secret(url: SplitResult) -> bool:
    """Whether `url` contains a password, or a user name that web hosts use as a token."""
    as_user = url.scheme in WEB_SCHEMES and url.username is not None
    return as_user or url.password is not None or SECRET_IN_QUERY.search(f"?{url.query}") is not None


def located(path: str, answers: Answers) -> str:
    """The absolute form of `path`. The hook runs in the new project, so `path` is not relative to its own folder.

    It is relative to the calling shell's `$PWD` (Windows has none), or else to the folder that the project goes into.
    """
    path = os.path.expanduser(path)  # noqa: PTH111 – pathlib raises for an unknown user
    output_dir = answers.get("_output_dir", str(Path.cwd().parent))
    places = [os.path.join(base, path) for base in (os.environ.get("PWD", ""), output_dir) if base]  # noqa: PTH118
    return next((place for place in places if os.path.exists(place)), places[-1])  # noqa: PTH110 – False if too long


def data(text: str, answers: Answers) -> str:
    """Why `text` cannot be the labelled data. A URL is checked by its text; nothing is fetched."""
    right = f"write 'example', or a path or URL (http, https, s3) of a file that ends in {', '.join(DATA_SUFFIXES)}"
    if text == "example":
        return ""
    if wrong := filled(text):
        return f"{wrong}: {right}"
    if url := split(text):
        if url.scheme not in DATA_SCHEMES or not url.netloc:
            return f"is not a URL that data can come from; {right}"
        return "" if url.path.lower().endswith(DATA_SUFFIXES) else f"does not name the kind of file; {right}"
    if rendered_to_compare(answers):
        return ""  # the file was read when the project was made, and may be gone
    path = moved_to(located(text, answers), aside())
    if not os.path.exists(path):  # noqa: PTH110
        return f"does not exist ({path}); {right}"
    if not os.path.isfile(path):  # noqa: PTH113
        return f"is not a file ({path}); {right}"
    if not os.access(path, os.R_OK):
        return f"cannot be read by you ({path}); change its permissions"
    return "" if path.lower().endswith(DATA_SUFFIXES) else f"is neither CSV nor Parquet by its name; {right}"


def target(text: str, answers: Answers) -> str:
    """Why `text` cannot be the column to predict. `python -m mlops schema infer` checks the columns of own data."""
    if wrong := filled(text):
        return wrong
    if answers["data"] != "example" or "_repo_dir" not in answers:
        return ""
    template = Path(located(answers["_repo_dir"], answers))
    example = next(template.glob("*cookiecutter.project*/data/raw/*.csv"), None)
    if example is None:
        return ""
    with example.open(newline="", encoding="utf-8") as file:
        columns = next(csv.reader(file))
    return "" if text in columns else f"is not a column of the example data, which has {', '.join(columns)}"


def dvc_remote(text: str) -> str:
    """Why `text` cannot be the URL of a DVC remote in `.dvc/config`, which Git tracks."""
    right = f"write a full path, or a URL whose scheme is one of {', '.join(REMOTE_SCHEMES)}"
    if wrong := one_line(text):
        return wrong
    if '"' in text or "%(" in text:
        return "contains '\"' or '%(', which DVC's configuration file cannot store; choose another place"
    if url := split(text):
        if url.scheme not in REMOTE_SCHEMES or not url.netloc:
            return f"is not a place that DVC can write to; {right}"
        if carries_secret(url):
            return "contains a secret, which Git would keep; leave it out, and set it with `dvc remote modify --local`"
        return ""
    full = not text or os.path.isabs(os.path.expanduser(text))  # noqa: PTH111, PTH117
    return "" if full else f"is neither a full path nor a URL; {right}"


def mlflow_tracking_uri(text: str) -> str:
    """Why `text` cannot be MLflow's tracking URI in `params.yaml`, which Git tracks."""
    right = f"write a URI whose scheme is one of {', '.join(TRACKING_SCHEMES)}, or nothing for SQLite in the project"
    if text in ("", "databricks"):
        return ""
    if wrong := one_line(text):
        return wrong
    url = split(text)
    if url is None or url.scheme.split("+")[0] not in TRACKING_SCHEMES:  # postgresql+psycopg names the driver
        return f"is not a tracking store that MLflow supports; {right}"
    if url.scheme == "sqlite":
        right = "write sqlite:/// and a full path, as in sqlite:////srv/mlflow.db, or nothing for one in the project"
        return (
            "" if text.startswith(ABSOLUTE_SQLITE) else f"would be another database in each working directory; {right}"
        )
    if not url.netloc:
        return f"names no host; {right}"
    if carries_secret(url):
        return "contains a secret, which Git would keep; leave it out, and set it in the environment instead"
    return ""


def place(path: str) -> str:
    """Why no project can be made at `path`. DVC formats the paths of its files, and ends at a brace."""
    return (
        "has a brace in its path, where DVC cannot work; choose another --output-dir" if set("{}") & set(path) else ""
    )


def refusals(answers: Answers) -> list[str]:
    """One sentence for each answer that cannot be used: its name, why, and what to write instead."""
    checks: dict[str, Callable[[str], str]] = {
        "project_name": filled,
        "project": folder_name,
        "description": one_line,
        "author": author,
        "data": lambda text: data(text, answers),
        "target": lambda text: target(text, answers),
        "dvc_remote": dvc_remote,
        "mlflow_tracking_uri": mlflow_tracking_uri,
    }
    found = [
        f"{name} = {answers[name]!r} {wrong}." for name, check in checks.items() if (wrong := check(answers[name]))
    ]
    here = str(Path.cwd())
    return found + ([f"The folder {here!r} {wrong}."] if (wrong := place(here)) else [])


def go_on_command(answers: Answers, moved: list[tuple[str, str]]) -> str:
    """The cookiecutter command that makes the same project once more, over what is there."""
    template = located(answers["_template"], answers)
    command = ["cookiecutter", "--no-input", "--overwrite-if-exists", "--output-dir", answers["_output_dir"]]
    command += ["--checkout", answers["_checkout"]] if answers.get("_checkout") else []
    command.append(template if os.path.exists(template) else answers["_template"])  # noqa: PTH110
    given = {name: value for name, value in answers.items() if not name.startswith("_")}
    if answers["data"] != "example" and "://" not in answers["data"]:
        given["data"] = moved_to(located(answers["data"], answers), moved)
    command += [f"{name}={value}" for name, value in given.items()]
    return subprocess.list2cmdline(command) if os.name == "nt" else shlex.join(command)


# ---- What lies in the folder already


def rendered(answers: Answers) -> set[str]:
    """The names of the files that cookiecutter renders."""
    folders = Path(located(answers["_repo_dir"], answers)).glob("*cookiecutter.project*")
    return {file.relative_to(folder).as_posix() for folder in folders for file in folder.rglob("*") if file.is_file()}


def results(answers: Answers, pattern: re.Pattern[str] = RESULT) -> set[str]:
    """The names of the files and folders that the pipeline writes, by the template's dvc.yaml."""
    pipelines = Path(located(answers["_repo_dir"], answers)).glob("*cookiecutter.project*/dvc.yaml")
    return {name for pipeline in pipelines for name in pattern.findall(pipeline.read_text(encoding="utf-8"))}


def last_commit() -> str:
    """The subject of the last commit that changed this folder."""
    return git("log", "-1", "--format=%s", "--", ".")


def made_here() -> bool:
    """Whether a generation made what lies here: one that was stopped, or that nobody has committed after."""
    return MANIFEST.exists() and (unfinished().exists() or last_commit() == FIRST_COMMIT)


def in_the_way(answers: Answers) -> list[Path]:
    """What lies here where a file comes, and may be a person's: Git does not have it from a generation.

    A generation that goes on has files of its own in the way, too. The last hook finds that both are the same.
    """
    names = files = rendered(answers)
    others = [entry for folder in DATA_FOLDERS if folder.is_dir() for entry in folder.iterdir()]  # DVC takes them all
    if made_here():
        others = [entry for entry in others if entry != EVENTS_README]
        names = files - set(listed("ls-files", "-z")) if last_commit() == FIRST_COMMIT else files
    else:
        names = files | WRITTEN | results(answers)
        code = {name for name in files if Path(name).parent not in DATA_FOLDERS}
        names |= hiding_rules(code | WRITTEN | RULES_OF_DVC | results(answers, RESULT_IN_GIT))
    found = {entry for entry in others if entry.as_posix() not in files}
    for name in names:
        *folders, path = [*reversed(Path(name).parents), Path(name)]
        path = next((folder for folder in folders if there(folder) and not folder.is_dir()), path)
        found |= {path} if there(path) else set()
    return sorted(path for path in found if not found.intersection(path.parents))


def there(path: Path) -> bool:
    """Whether there is anything, be it a link to nothing."""
    return path.is_symlink() or path.exists()


def hiding_rules(tracked: set[str]) -> set[str]:
    """The .gitignore files below this folder by which Git would not take in one of the files that it is to track."""
    found = set()
    for folder in {folder for name in tracked for folder in Path(name).parents if folder.name}:
        if (folder / ".gitignore").is_file():
            names = [str(Path(name).relative_to(folder)) for name in tracked if folder in Path(name).parents]
            with tempfile.TemporaryDirectory() as store:
                git("init", "--quiet", "--bare", store)
                # With the folder as its work tree, Git reads the rules of no other folder.
                here = ["-C", str(folder), f"--git-dir={store}", "--work-tree=."]
                if git(*here, "-c", f"core.excludesFile={os.devnull}", "check-ignore", "--no-index", "--", *names):
                    found.add((folder / ".gitignore").as_posix())
    return found


def free(folder: Path) -> Path:
    """`folder`, or that name with a number: the first one that is not there."""
    names = (folder.with_name(f"{folder.name}-{number}") for number in range(2, sys.maxsize))
    return next(name for name in names if not there(name)) if there(folder) else folder


def moves(answers: Answers) -> list[tuple[str, str]]:
    """Where each thing in the way goes, and where it is: data beside its folder, all else into the folder `before`."""
    places = {folder: free(folder.with_name(f"{folder.name}-before")) for folder in DATA_FOLDERS}
    before = free(Path(BEFORE))
    return [
        ((places[path.parent] / path.name if path.parent in places else before / path).as_posix(), path.as_posix())
        for path in in_the_way(answers)
    ]


def aside() -> list[tuple[str, str]]:
    """What generations of this folder have moved and not yet told: where each thing is, and where it was."""
    if not unfinished().exists():
        return []
    noted = re.findall(r"^#aside (.+)$", unfinished().read_text(encoding="utf-8"), re.MULTILINE)
    pairs = [(str(goal), str(name)) for goal, name in map(json.loads, noted)]
    return [(goal, name) for goal, name in pairs if there(Path(goal))]


def moved_to(path: str, moved: list[tuple[str, str]]) -> str:
    """Where the data file at `path` is, if it lay in this folder and in the way."""
    here = Path.cwd().resolve()
    for place in (Path(path).parent.resolve() / Path(path).name, Path(path).resolve()):
        for goal, name in moved:
            if (here / name) in (place, *place.parents):
                return str(Path.cwd() / goal / place.relative_to(here / name))
    return path


def move(path: Path, goal: Path) -> None:
    """Move a file, a folder or a link, which keeps its target."""
    goal.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        goal.symlink_to(path.parent.resolve() / path.readlink())
        path.unlink()
    else:
        path.replace(goal)


def git(*arguments: str) -> str:
    """What Git says in this folder; "" where it fails."""
    if not shutil.which("git"):
        return ""
    env = {name: value for name, value in os.environ.items() if name not in OTHER_REPOSITORY}
    done = subprocess.run(
        ["git", *arguments], env=env, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    return done.stdout.strip()


def listed(*arguments: str) -> list[str]:
    """The file names that a command of Git lists with -z."""
    return [name for name in git(*arguments).split("\0") if name]


def unfinished() -> Path:
    """The file beside the project that lasts as long as its generation."""
    return Path.cwd().with_name(f"{Path.cwd().name}.unfinished")


def move_back(moved: list[tuple[str, str]], links: dict[str, Path]) -> None:
    """Take back moves, which may not all have been made; `links` are the targets that links had."""
    for goal, name in moved:
        if there(Path(goal)) and name not in links:
            Path(goal).replace(name)
        elif there(Path(goal)):
            Path(goal).unlink()
            if not there(Path(name)):
                Path(name).symlink_to(links[name])
        for folder in Path(goal).parents:
            with suppress(OSError):  # it is not empty, or not there
                folder.rmdir()


def begin(answers: Answers) -> str:
    """Move what is in the way, and keep beside the project the command that goes on if this generation is killed.

    Where something cannot be moved, nothing is, and the reason is returned, as the end of a sentence.
    Cookiecutter refuses a folder that is there. What a killed generation has half written is removed first: its own
    data file is noted as a comment, as is where each file of a person went; the last hook removes the file.
    """
    if unfinished().exists() and made_here() and last_commit() != FIRST_COMMIT:
        shutil.rmtree(Path(".dvc", "tmp"), ignore_errors=True)
        noted = re.findall(r"^# (.+)$", unfinished().read_text(encoding="utf-8"), re.MULTILINE)
        own = [
            f"data/{folder}/{name}{end}" for name in noted for folder in ("raw", "incoming") for end in ("", ".part")
        ]
        for file in (*HALF_WRITTEN, *own):
            Path(file).unlink(missing_ok=True)
    new, earlier = moves(answers), unfinished().read_text(encoding="utf-8") if unfinished().exists() else ""
    links = {name: Path(name).readlink() for _, name in new if Path(name).is_symlink()}
    moved = aside() + new
    command = go_on_command(answers, moved)
    notes = "".join(f"#aside {json.dumps(pair)}\n" for pair in moved)
    try:
        # exec: it is written anew while a shell reads it
        unfinished().write_text(f"exec {command}\n{notes}", encoding="utf-8")
        for goal, name in new:
            move(Path(name), Path(goal))
    except OSError as error:
        move_back(new, links)
        if earlier:
            unfinished().write_text(earlier, encoding="utf-8")
        else:
            unfinished().unlink(missing_ok=True)
        return (
            f"is a folder where {error.filename} cannot be moved or written ({error.strerror}), and nothing was "
            "moved; give yourself the right to do so, or choose another name"
        )
    if answers["setup"] != "no":
        print("If this is stopped, go on with:", command if os.name == "nt" else shlex.join(["sh", str(unfinished())]))
    return ""


def main(answers: Answers) -> int:
    """Print every refusal to stderr. The exit code 1 makes cookiecutter and cruft stop."""
    sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    found = refusals(answers)
    wrong = in_use(answers)
    if not (found or wrong or run_by_cruft(answers) or rendered_to_compare(answers)):
        wrong = begin(answers)
    if wrong:
        found.append(f"project = {answers['project']!r} {wrong}.")
    if found:
        lines = [f"  - {refusal}" for refusal in found]
        print("No project was made. Please answer again:", *lines, sep="\n", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    # This is safe for any answer. JSON has no raw line break and never three bare quotes in a row, and its backslashes
    # come in pairs as in a raw string. So Python's string ends where the JSON ends.
    sys.exit(main(json.loads(r"""{{ cookiecutter | tojson }}""")))
