"""Which files of a repository something runs, as its configuration and its documents name them: read as text.

Workflows and stages of DVC are parsed (`workflows`, `pipelines`); all else is looked through for a command that starts
a file: what comes after `python`, `uvicorn`, `papermill` and the like, or after a key such as `notebook_path`.
"""

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath

from mlops.assessment.evidence.commands import PYTHON, Command
from mlops.assessment.evidence.repository import Repository

# Files that define how something of the repository is run. What a workflow or DVC runs is known better by parsing it.
CONFIGURED = re.compile(
    r"(?:^|/)(?:[^/]*dockerfile[^/]*|containerfile|procfile|(?:gnu)?makefile|\.?justfile|snakefile|mlproject|jenkinsfile|"
    r"pipfile|setup\.py|noxfile\.py|tasks\.py|package\.json|"
    r"[^/]*\.(?:mk|ya?ml|toml|cfg|ini|smk|sh|bash|slurm|sbatch|bat|ps1))$",
    re.I,
)
PARSED = re.compile(r"(?:^|/)(?:\.github/|\.gitlab/|[^/]*\.gitlab-ci[^/]*$|dvc\.(?:yaml|lock)$)")
DOCUMENTS = re.compile(r"(?:^|/)(?:readme[^/]*|contributing[^/]*|[^/]*\.(?:md|rst))$", re.I)
MOST_DOCUMENTS = 200
ENTRIES = ("pyproject.toml", "setup.cfg", "setup.py")
ENTRY = re.compile(r"(?<![\w.-])([\w.-]{1,100})[\"']?\s*=\s*[\"']?([A-Za-z_]\w*(?:\.\w+)*):\w+")
LAUNCHERS = frozenset({"ipython", "torchrun", "deepspeed", "accelerate", "horovodrun", "spark-submit", "papermill"})
LAUNCHERS |= {"uvicorn", "gunicorn", "hypercorn", "streamlit", "fastapi", "flask", "bentoml", "chainlit", "modal"}
LAUNCHERS |= {"torch.distributed.launch", "torch.distributed.run"}
BETWEEN = frozenset({"run", "dev", "launch", "serve", "deploy"})  # words between a launcher and its file
KEYS = frozenset(
    {"program", "script", "python_file", "notebook_path", "entrypoint", "entry_point", "args", "code_file"}
)
KEYS |= {"main", "main_file"}
LOOKED_FOR = re.compile(r"python|py\b|run\b|\bPY|corn\b|\.py\b|\.ipynb\b", re.I)
COMMENT = re.compile(r"^[ \t]*(?:#|//|@?(?:echo|printf)\b).*$|[ \t]#.*$", re.M)
# What goes on in the next line: after a key or a backslash, and in a list.
JOINED = re.compile(r"(?:(?<=:)|\\|[>|]-?)[ \t]*\n\s*|\n[ \t]*-[ \t]+")
SIGNS = re.compile(r"[\"'`,()\[\]<>]+")
LINKS = frozenset((";", "&&", "||", "|"))
MOST_WORDS = 20  # between a launcher and its file


def file_of(repository: Repository, script: str) -> str:
    """The tracked file behind a path or a module; "" if there is none."""
    if not script:
        return ""
    path = str(PurePosixPath(script))
    module = script.replace(".", "/")
    choices = (path, f"{module}.py", f"{module}/__main__.py", f"src/{module}.py", f"src/{module}/__main__.py")
    if found := next((choice for choice in choices if choice in repository.files), ""):
        return found
    if path.endswith((".py", ".sh", ".ipynb")):  # named from another folder, such as by `working-directory`
        ends = [known for known in repository.named(PurePosixPath(path).name) if known.endswith(f"/{path}")]
        return ends[0] if len(ends) == 1 else ""
    return ""


def run_by(repository: Repository, command: Command, entries: Mapping[str, str]) -> str:
    """The file that a command runs: its script, what its launcher starts, a module, or its entry point; "" if none."""
    first = command.words[0]
    if first in LAUNCHERS:
        return _started(repository, "", command.words[1:])
    if first in entries:
        return entries[first]
    plain = first if re.fullmatch(r"\w+", first) and first != "test" else ""  # of `python -m first`
    return file_of(repository, command.script) or file_of(repository, plain)


def entries(repository: Repository) -> dict[str, str]:
    """The programs that the packages of the repository install, each with its file."""
    found = {}
    for path in repository.named(*ENTRIES):
        for name, module in ENTRY.findall(repository.text(path) or ""):
            if file := _resolved(repository, path.rpartition("/")[0], module, is_module=True):
                found[name] = file
    return found


def configured(repository: Repository, paths: Iterable[str]) -> set[str]:
    """The files that a Makefile, Dockerfile, script of a shell, entry point or other configuration runs."""
    wanted = [path for path in paths if CONFIGURED.search(path) and not PARSED.search(path)]
    return set(_named(repository, wanted)) | set(entries(repository).values())


def documented(repository: Repository, paths: Iterable[str]) -> set[str]:
    """The files that a README or another document says how to run."""
    wanted = sorted((path for path in paths if DOCUMENTS.search(path)), key=lambda path: path.count("/"))
    return set(_named(repository, wanted[:MOST_DOCUMENTS]))


def _named(repository: Repository, paths: list[str]) -> Iterator[str]:
    for path, text in repository.read(paths):
        if LOOKED_FOR.search(text):
            plain = JOINED.sub(" ", COMMENT.sub("", text))
            for line in plain.splitlines():
                if LOOKED_FOR.search(line):
                    yield from _of_line(repository, path.rpartition("/")[0], SIGNS.sub(" ", line).split())


def _of_line(repository: Repository, folder: str, words: list[str]) -> Iterator[str]:
    for place, word in enumerate(words):
        own = word.rpartition("/")[2]
        is_key = word.rstrip(":=").lower() in KEYS and (word[-1] in ":=" or words[place + 1 : place + 2] == ["="])
        starts = is_key or own in LAUNCHERS or PYTHON.match(word) or word in ("PYTHON", "PY")
        first = place + 1 + (is_key and words[place + 1 : place + 2] == ["="])
        rest = words[first : first + MOST_WORDS]
        if word.startswith("./") and word.endswith((".py", ".ipynb")):
            rest, starts = [word], True
        elif own == "jupyter" and "--execute" in rest:
            rest, starts = [one for one in rest if one.endswith(".ipynb")], True
        if starts and (found := _started(repository, folder, rest)):
            yield found


def _started(repository: Repository, folder: str, words: Iterable[str]) -> str:
    """The file that words after a launcher name, behind its options; "" if they name none."""
    is_module = may_skip = False
    for word in words:
        if word == "-c" or word in LINKS:
            return ""
        if word.startswith("-") or re.match(r"\w+=", word):
            is_module, may_skip = word == "-m", True
            continue
        if found := _resolved(repository, folder, word, is_module=is_module):
            return found
        if not (may_skip and not is_module) and word not in BETWEEN | LAUNCHERS:
            return ""
        is_module = may_skip = False  # the value of one option
    return ""


def _resolved(repository: Repository, folder: str, word: str, *, is_module: bool) -> str:
    """The tracked file of a path or module (`app.main:app` too), seen from a folder or from the root; "" if none."""
    name, _, _ = word.partition(":")
    if not (is_module or name != word or "." in name):
        return ""
    if re.fullmatch(r"\w+(?:\.\w+)*", name) and not name.endswith((".py", ".ipynb")):
        path = posixpath.join(folder, name.replace(".", "/"))
        near = next((one for one in (f"{path}.py", f"{path}/__main__.py") if one in repository.files), "")
        return near or file_of(repository, name)
    if not name.endswith((".py", ".ipynb")):
        return ""
    near = posixpath.normpath(posixpath.join(folder, name)) if name[0] != "/" else ""
    if near in repository.files:
        return near
    parts = name.split("/")
    if parts[0] in ("", "..") or parts[0][0] in "${":  # the folder of a container, or one in a variable
        ends = ("/".join(parts[start:]) for start in range(1, len(parts)))
        return next((found for end in ends if (found := file_of(repository, end))), "")
    return file_of(repository, name)
