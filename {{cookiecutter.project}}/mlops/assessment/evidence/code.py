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

from mlops.assessment.evidence import documents, tools
from mlops.assessment.evidence.documents import UnreadableError
from mlops.assessment.evidence.repository import Repository
from mlops.assessment.evidence.workflows import file_of

# An import of a tool, in a script or a cell. A word boundary at the start would take twenty times as long.
MENTIONS = re.compile(r"(?:import|from)[ \t]+(?:[\w.]+,[ \t]*){0,3}(" + "|".join(sorted(tools.ROOTS)) + r")\b")
MOST_CHARACTERS = 300_000  # of a file that is parsed
PARSED = 20  # files that import the same tool; what the others of a large repository do is the same
TEST = re.compile(r"(?:^|/)(?:tests?/.*|test_[^/]*|[^/]*_test)\.py$")
# A folder of code that was copied into the repository, of examples or of documentation, is not what is practised there.
ASIDE = re.compile(r"(?:^|/)(?:\.?venv|node_modules|site-packages|third_party|vendor|\.tox)/")
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
        _ = self.uses
        return self._local

    @cached_property
    def uses(self) -> dict[str, list[Use]]:
        """The uses of tools by what the tool is for (a key of `tools.KINDS`), those in tests left out."""
        found: dict[str, list[Use]] = {kind: [] for kind in tools.KINDS}
        self._local: list[tuple[str, int]] = []
        parsed: Counter[str] = Counter()
        # First what is practised, last the notebooks, which are large.
        own = sorted(
            (path for path in self.scripts if not TEST.search(path)), key=lambda path: path not in self.practised
        )
        for path, text in self.repository.read([*own, *self.notebooks]):
            if local := LOCAL_PATH.search(text):
                self._local.append((path, text.count("\n", 0, local.start()) + 1))
            mentioned = set(MENTIONS.findall(text))
            if all(parsed[root] >= PARSED for root in mentioned):  # or there is none
                self.repository.forget(path)
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
            module = self.module(path)
            for name in module.imports if module else ():
                waiting += self._files_of(name, path)
        return seen

    def _files_of(self, name: str, path: str) -> Iterator[str]:
        folder = path.rpartition("/")[0]
        relative = name.lstrip(".")
        for one in (relative, relative.rpartition(".")[0]):
            if one:
                near = f"{folder}/{one.replace('.', '/')}.py" if folder else ""
                if found := (near if near in self.repository.files else file_of(self.repository, one)):
                    yield found

    def _parsed(self, path: str) -> Module | None:
        text = self.repository.text(path)
        if text is None:
            return None
        if path.endswith(".ipynb"):
            return _notebook(text)
        return _module(text) if len(text) <= MOST_CHARACTERS else None


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
