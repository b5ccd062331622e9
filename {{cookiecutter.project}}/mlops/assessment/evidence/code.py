"""What the Python code and the notebooks of a repository call, read as text: nothing of it is imported or run."""

import ast
import json
import re
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath

from mlops.assessment.evidence import documents, running, tools
from mlops.assessment.evidence.documents import UnreadableError
from mlops.assessment.evidence.repository import Repository

# An import of a tool, in a script or a cell. A word boundary at the start would take twenty times as long.
MENTIONS = re.compile(r"(?:import|from)[ \t]+(?:[\w.]+,[ \t]*){0,3}(" + "|".join(sorted(tools.ROOTS)) + r")\b")
MOST_CHARACTERS = 300_000  # of a file that is parsed
SYSTEM, CONFIGURED, HAND, NOTHING = range(4)  # what runs a file
PARSED = 20  # files that import the same tool; what the others of a large repository do is the same
TEST = re.compile(r"(?:^|/)(?:tests?/.*|test_[^/]*|[^/]*_test)\.py$")
# A folder of code that was copied into the repository, of examples or of documentation, is not what is practised there.
ASIDE = re.compile(r"(?:^|/)(?:\.?venv|node_modules|site-packages|third_party|vendor|\.tox)/")
# What a file imports, in a script or a cell of a notebook. To parse all files would take ten times as long.
IMPORT = re.compile(
    r"^[ \t\"]*(?:from[ \t]+(\.*[\w.]*)[ \t]+import[ \t]+(\([^)]{0,2000}\)|[^\n#;]*)|import[ \t]+([\w., \t]+))", re.M
)
# A file that imports one of these defines what it runs.
DEFINES = re.compile(r"^[ \t]*(?:import|from)[ \t]+(?:" + "|".join(sorted(tools.FRAMEWORKS)) + r")\b", re.M)
EXECUTED = re.compile(r'"execution_count":\s*[0-9]|"output_type":')
# People's own machines.
LOCAL_PATH = re.compile(
    r"""["'](?:[A-Za-z]:\\|/home/|/Users/|~/)[^"'\n]*\.(?:csv|parquet|xlsx?|json|pkl|feather)["']"""
)


@dataclass(frozen=True)
class Use:
    """A call of a tool: its package, the call as it is written with imports resolved, and where it stands."""

    root: str
    call: str
    path: str
    line: int

    @property
    def tool(self) -> str:
        """The name that people know the tool by."""
        return tools.name(self.root)


@dataclass
class Module:
    """A Python file: what it imports, and every call and base class in it with its line."""

    imports: dict[str, int] = field(default_factory=dict)
    calls: list[tuple[str, int]] = field(default_factory=list)


@dataclass
class Seen:
    """What one look over all code has found: imports by file, files that mention a tool, and those that run as such."""

    imports: dict[str, list[str]] = field(default_factory=dict)
    mentioned: dict[str, set[str]] = field(default_factory=dict)
    defining: set[str] = field(default_factory=set)  # what a framework runs
    executed: set[str] = field(default_factory=set)  # notebooks with stored outputs
    local: list[tuple[str, int]] = field(default_factory=list)


@dataclass
class Code:
    """The code of a repository, parsed as far as it mentions a tool or something asks for it."""

    repository: Repository
    starts: Callable[[], set[str]]  # the files that workflows and pipelines run
    aside: str = ""  # a folder that is left out: the machinery of a generated project, which comes with it
    inside: str = ""  # the folder of the project, with a slash; what lies outside is another one's
    _modules: dict[str, Module | None] = field(default_factory=dict)

    @cached_property
    def notebooks(self) -> list[str]:
        """The notebooks."""
        return [path for path in self.repository.ending(".ipynb") if self._counts(path)]

    @cached_property
    def scripts(self) -> list[str]:
        """The Python files."""
        found = [path for path in self.repository.ending(".py") if self._counts(path)]
        return [path for path in found if not self.aside or not path.startswith(self.aside)]

    def _counts(self, path: str) -> bool:
        return path.startswith(self.inside) and not ASIDE.search(path)

    @cached_property
    def tests(self) -> list[str]:
        """The files of tests that hold a test, not only its name."""
        found = [path for path in self.scripts if TEST.search(path)]
        list(self.repository.read(found))
        return [
            path for path in found if re.search(r"^[ \t]*(?:async )?def test_", self.repository.text(path) or "", re.M)
        ]

    @cached_property
    def local_paths(self) -> list[tuple[str, int]]:
        """Places where code names data by a path of one person's machine."""
        return self._seen.local

    @cached_property
    def uses(self) -> dict[str, list[Use]]:
        """The uses of tools by what the tool is for (a key of `tools.KINDS`), those in tests left out.

        First come those that a system runs, then what else is run, last what nothing runs; scripts before notebooks.
        """
        found: dict[str, list[Use]] = {kind: [] for kind in tools.KINDS}
        parsed: Counter[str] = Counter()
        for path in sorted(self._seen.mentioned, key=lambda path: (self.rank(path), path.endswith(".ipynb"))):
            mentioned = self._seen.mentioned[path]
            if all(parsed[root] >= PARSED for root in mentioned):
                continue
            parsed.update(mentioned)
            if module := self.module(path):
                for kind, known in tools.KINDS.items():
                    found[kind] += _uses(module, known, path)
            if time.monotonic() > self.repository.deadline:
                self.repository.truncated = True
                break
        return found

    @cached_property
    def practised(self) -> set[str]:
        """The files that a workflow or a stage of a pipeline runs, directly or by an import."""
        return self.reached(self.starts())

    @cached_property
    def configured(self) -> set[str]:
        """The files that a Makefile, Dockerfile, entry point, framework or other configuration runs."""
        return self.reached(running.configured(self.repository, self._all) | self._seen.defining)

    @cached_property
    def by_hand(self) -> set[str]:
        """The files that a document says how to run, and notebooks that were run."""
        return self.reached(running.documented(self.repository, self._all) | self._seen.executed)

    def rank(self, path: str) -> int:
        """What runs a file: a system (SYSTEM), some configuration (CONFIGURED), a person (HAND), nothing (NOTHING)."""
        sets = (self.practised, self.configured, self.by_hand)
        return next((rank for rank, paths in enumerate(sets) if path in paths), NOTHING)

    @cached_property
    def _all(self) -> list[str]:
        """The files of the project, without the machinery of a generated one."""
        found = [path for path in self.repository.files if self._counts(path)]
        return [path for path in found if not self.aside or not path.startswith(self.aside)]

    @cached_property
    def _seen(self) -> Seen:
        seen = Seen()
        own = [path for path in self.scripts if not TEST.search(path)]
        for path, text in self.repository.read([*own, *self.notebooks]):
            seen.imports[path] = list(_imported(text))
            if local := LOCAL_PATH.search(text):
                seen.local.append((path, text.count("\n", 0, local.start()) + 1))
            if DEFINES.search(text):
                seen.defining.add(path)
            if path.endswith(".ipynb") and EXECUTED.search(text):
                seen.executed.add(path)
            if mentioned := set(MENTIONS.findall(text)):
                seen.mentioned[path] = mentioned
            else:
                self.repository.forget(path)
            if time.monotonic() > self.repository.deadline:
                self.repository.truncated = True
                break
        return seen

    def module(self, path: str) -> Module | None:
        """What a Python file or a notebook imports and calls; None if it is neither."""
        if path not in self._modules:
            self._modules[path] = self._parsed(path)
        return self._modules[path]

    def reached(self, starts: Iterable[str]) -> set[str]:
        """The files of the repository that these files are or import, directly or not."""
        seen: set[str] = set()
        waiting = [path for path in starts if path]
        while waiting:
            path = waiting.pop()
            if path in seen or not path.endswith((".py", ".ipynb")):
                continue
            seen.add(path)
            for name in self._imports(path):
                waiting += self._files_of(name, path)
        return seen

    def _imports(self, path: str) -> list[str]:
        imports = self._seen.imports
        if path not in imports:
            imports[path] = list(_imported(self.repository.text(path) or ""))
        return imports[path]

    @cached_property
    def _names(self) -> set[str]:
        """The first words that an import of a file of here can have."""
        parts = {part for path in self.repository.files if path.endswith(".py") for part in path.split("/")}
        return {part.removesuffix(".py") for part in parts}

    def _files_of(self, name: str, path: str) -> Iterator[str]:
        """The files that an import in a file loads: the module, and the packages around it."""
        level = len(name) - len(name.lstrip("."))
        parts = [part for part in name.split(".") if part]
        folders = [str(folder).removeprefix(".") for folder in PurePosixPath(path).parents]
        if level:
            folders = folders[level - 1 : level]
        elif parts[0] not in self._names:
            return
        else:
            folders.append("src")
        for folder in folders:
            found = []
            for end in range(not level, len(parts) + 1):
                base = "/".join([folder, *parts[:end]] if folder else parts[:end])
                found += [one for one in (f"{base}.py", f"{base}/__init__.py") if one in self.repository.files]
            if found:
                yield from found
                return

    def _parsed(self, path: str) -> Module | None:
        text = self.repository.text(path)
        if text is None:
            return None
        if path.endswith(".ipynb"):
            return _notebook(text)
        return _module(text) if len(text) <= MOST_CHARACTERS else None


def _imported(text: str) -> Iterator[str]:
    """The names that a file imports, as they are written: modules, and what is taken of them."""
    for base, taken, whole in IMPORT.findall(text):
        if not base:
            yield from re.findall(r"[\w.]+", re.sub(r"\bas\s+\w+", "", whole))
        else:
            for name in re.findall(r"\w+", re.sub(r"\bas\s+\w+", "", taken)) or [""]:
                yield f"{base}{name}" if base.endswith(".") else f"{base}.{name}"


def _module(text: str, offset: int = 0) -> Module | None:
    tree = _tree(text)
    if tree is None:
        return None
    module, names = Module(), {}
    nodes = list(_reached(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
                module.imports.setdefault(alias.name, node.lineno + offset)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for alias in node.names:
                full = f"{base}.{alias.name}" if base.strip(".") else f"{base}{alias.name}"
                names[alias.asname or alias.name] = full
                module.imports.setdefault(full, node.lineno + offset)
    for node in nodes:
        if isinstance(node, ast.Call):
            called = _dotted(node.func, names)
            module.calls.append((called, node.lineno + offset))
            module.calls += [(f"{called}:{key.arg}", node.lineno + offset) for key in node.keywords if key.arg]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for decorator in node.decorator_list:
                module.calls.append((_dotted(decorator, names), decorator.lineno + offset))
            for base_class in getattr(node, "bases", []):
                module.calls.append((_dotted(base_class, names), node.lineno + offset))
    return module


def _reached(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a tree as `ast.walk` gives them, without what stands under `if False:` or `while 0:`."""
    waiting = deque([tree])
    while waiting:
        node = waiting.popleft()
        if isinstance(node, ast.If | ast.While) and isinstance(node.test, ast.Constant) and not node.test.value:
            waiting.extend(node.orelse)
            continue
        yield node
        waiting.extend(ast.iter_child_nodes(node))


def _tree(text: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in somebody else's texts
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _notebook(text: str) -> Module | None:
    """The cells of a notebook as one module; each line is that of the notebook's file."""
    try:
        cells = documents.from_json(text)["cells"]
    except (UnreadableError, KeyError, TypeError):
        return None
    whole, place, offset = Module(), 0, 0
    for cell in cells if isinstance(cells, list) else []:
        if not isinstance(cell, dict) or cell.get("cell_type") != "code":
            continue
        source = cell.get("source", "")
        lines = source.splitlines() if isinstance(source, str) else [str(line).rstrip("\n") for line in source]
        plain = ["pass" if line.lstrip().startswith(("%", "!", "?")) else line for line in lines]
        module = _module("\n".join(plain))
        first = next((line for line in lines if line.strip()), "")
        found = max(text.find(json.dumps(first, ensure_ascii=False)[1:-1], place), place)
        offset += text.count("\n", place, found)
        place = found
        if module is not None:
            one_line = isinstance(source, str)
            whole.imports |= {name: offset + (1 if one_line else at) for name, at in module.imports.items()}
            whole.calls += [(name, offset + (1 if one_line else at)) for name, at in module.calls]
    return whole


def _dotted(node: ast.AST, names: dict[str, str]) -> str:
    """A call as text, its first name resolved by the imports; of a call on anything else, a dot and the last words."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        if isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        else:
            node = node.func if isinstance(node, ast.Call) else node.value
    head = names.get(node.id, f".{node.id}") if isinstance(node, ast.Name) else ""
    return ".".join([head, *reversed(parts)])


def _uses(module: Module, known: Mapping[str, tools.Calls], path: str) -> Iterator[Use]:
    imported = {name.partition(".")[0] for name in module.imports}
    for root in imported & known.keys():
        # A method of some object is taken for the tool's only where the tool itself is called, too.
        is_called = any(call.startswith(f"{root}.") and ":" not in call for call, _ in module.calls)
        for call, line in module.calls:
            own, _, rest = call.partition(".")
            if own != root and (own or "." not in rest or not is_called):
                continue
            last = call.rpartition(".")[2]
            if last in known[root] or any(call.endswith(f".{word}") for word in known[root] if "." in word):
                yield Use(root, call, path, line)
