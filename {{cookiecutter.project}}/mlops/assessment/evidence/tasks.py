"""What the tasks of make, just, invoke, hatch and the like run, as the repository defines them."""

import ast
import configparser
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from mlops.assessment.evidence import documents
from mlops.assessment.evidence.documents import UnreadableError
from mlops.assessment.evidence.repository import Repository

Definitions = dict[str, tuple[list[str], str]]  # by the name of a task: those that it needs, and its commands
LONGEST_LINE = 2_000
LONGEST = 200_000  # characters of a file that is parsed
# A target with what it needs, and its indented recipe.
RULE = re.compile(
    r"^([A-Za-z_.][\w .-]*)[ \t]*:(?!=)[ \t]*([^\n#=]*)[^\n]*\n((?:(?:\t| {2,})[^\n]*\n?|\n(?=\t))*)", re.M
)
COMMANDS = ("cmd", "cmds", "shell", "run", "composite", "sequence", "command", "script", "call")
NEEDS = ("depends-on", "depends_on", "depends", "deps", "pre")
BASE = "testenv"  # of tox: what an environment without a section of its own runs


@dataclass
class Tasks:
    """The definitions of each runner, read when something asks for them."""

    repository: Repository
    _known: dict[str, list[tuple[str, Definitions]]] = field(default_factory=dict)

    def defined(self, runner: str) -> list[tuple[str, Definitions]]:
        """The files of a runner that could be read, the nearest to the root first, with what they define."""
        if runner not in self._known:
            names, reader = READERS[runner]
            texts = [(path, self.repository.text(path) or "") for path in self.repository.named(*names)]
            read = [(path, reader(text)) for path, text in texts if len(text) <= LONGEST or reader is _rules]
            self._known[runner] = [(path, found) for path, found in read if found is not None]
        return self._known[runner]

    def commands(self, runner: str, name: str, folder: str = "") -> str | None:
        """The commands of a task and of all that it needs; None if none of that name is defined."""
        for path, known in self.defined(runner):
            home = path.rpartition("/")[0]
            if folder and not f"/{home}".endswith(f"/{folder.strip('./')}"):
                continue
            first = name or next((one for one in known if not one.startswith(".")), "")
            if first not in known:
                first = BASE
            if first in known:
                own = [f"python {path}"] if path.endswith(".py") else []
                return "\n".join([*own, *_flat(known, first)])
        return None


def _flat(known: Definitions, name: str) -> Iterator[str]:
    seen, waiting = set(), [name]
    while waiting:
        name = waiting.pop()
        if name in known and name not in seen:
            seen.add(name)
            needs, body = known[name]
            waiting += needs
            yield body


def _rules(text: str) -> Definitions | None:
    """The targets of a Makefile or justfile."""
    found: Definitions = {}
    lines = text.splitlines(keepends=True)
    for names, needs, body in RULE.findall("".join(line for line in lines if len(line) < LONGEST_LINE)):
        for name in names.split():
            found.setdefault(name, (needs.split(), "\n".join(line.strip().lstrip("@") for line in body.splitlines())))
    return found


def _functions(text: str) -> Definitions | None:
    """The functions of a tasks.py or noxfile.py: the texts that they give to `run`, and the functions they name."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    names, found = {node.name for node in functions}, {}
    for function in functions:
        nodes = list(ast.walk(function))
        runs = [node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
        said = [" ".join(map(_text, node.args)) for node in runs if getattr(node.func, "attr", "") in ("run", "sudo")]
        needs = [node.id for node in nodes if isinstance(node, ast.Name) and node.id in names]
        found[function.name] = found[function.name.replace("_", "-")] = (needs, "\n".join(said))
    return found


def _text(node: ast.AST) -> str:
    """A text of a program as far as it is written there; what is filled in is a variable."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else "$x"


def _sections(text: str) -> Definitions | None:
    """The environments of a tox.ini."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return None
    found: Definitions = {}
    for section in parser.sections():
        body = parser[section].get("commands", "") if section.startswith(BASE) else ""
        if body and "{[" not in body:
            lines = [f"{line[1:]} || true" if line.startswith("-") else line for line in body.splitlines()]
            for name in (section.partition(":")[2] or BASE).split(","):
                found[name.strip()] = ([], "\n".join(lines).replace("{posargs}", ""))
    return found


def _tables(text: str, *, places: str) -> Definitions | None:
    """The tasks in tables of a TOML file; `*` in a place stands for any name."""
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return None
    return {name: _task(one) for place in places.split() for name, one in _below(content, place.split("."))}


def _taskfile(text: str) -> Definitions | None:
    """The tasks of a Taskfile."""
    try:
        content = documents.from_yaml(text)
    except UnreadableError:
        return None
    return {str(name): _task(one) for name, one in _below(content, ["tasks"])}


def _below(content: Any, place: list[str]) -> Iterator[tuple[str, Any]]:
    if not isinstance(content, dict):
        return
    if not place:
        yield from content.items()
        return
    for name in content if place[0] == "*" else place[:1]:
        yield from _below(content.get(name), place[1:])


def _task(raw: Any) -> tuple[list[str], str]:
    needs = [one for key in NEEDS for one in _texts(raw.get(key))] if isinstance(raw, dict) else []
    return needs, "\n".join(_texts(raw))


def _texts(raw: Any) -> Iterator[str]:
    if isinstance(raw, str):
        yield raw
    elif isinstance(raw, list):
        for one in raw:
            yield from _texts(one)
    elif isinstance(raw, dict):
        for key in COMMANDS:
            # A list as `cmd` is one command, word by word.
            own = raw.get(key)
            yield from [" ".join(map(str, own))] if key == "cmd" and isinstance(own, list) else _texts(own)


def _toml(places: str) -> Callable[[str], Definitions | None]:
    return partial(_tables, places=places)


PROJECT = "pyproject.toml"
READERS: dict[str, tuple[tuple[str, ...], Callable[[str], Definitions | None]]] = {
    "make": (("Makefile", "makefile", "GNUmakefile", "justfile"), _rules),
    "just": (("justfile", "Justfile", ".justfile", "Makefile"), _rules),
    "task": (("Taskfile.yml", "Taskfile.yaml"), _taskfile),
    "invoke": (("tasks.py",), _functions),
    "nox": (("noxfile.py",), _functions),
    "tox": (("tox.ini",), _sections),
    "hatch": ((PROJECT, "hatch.toml"), _toml("tool.hatch.envs.*.scripts envs.*.scripts")),
    "pdm": ((PROJECT,), _toml("tool.pdm.scripts")),
    "pixi": (
        (PROJECT, "pixi.toml"),
        _toml("tool.pixi.tasks tool.pixi.feature.*.tasks tasks feature.*.tasks"),
    ),
    "poe": ((PROJECT,), _toml("tool.poe.tasks")),
    "rye": ((PROJECT,), _toml("tool.rye.scripts")),
    "pipenv": (("Pipfile",), _toml("scripts")),
    "mise": (("mise.toml", ".mise.toml"), _toml("tasks")),
}
