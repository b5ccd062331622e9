"""The code that a version brings along: `project/`, and what of `mlops/` it takes to answer a raw row.

MLflow puts a version's code on `sys.path` and imports it by name, and Python keeps one module for a name. Of two
versions in one process, or beside the project itself, the second would silently run with the code of the first. So a
version's code is a package of its own, named after its content, in which every import of `mlops` and `project` is one
of that package.
"""

import ast
import hashlib
import importlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TypeAlias

from mlops.base import files

ROOT = Path(__file__).parents[2]
OWN = ("mlops", "project")
Import: TypeAlias = ast.Import | ast.ImportFrom
ENTRY = '''"""The code of a version, as it was when its model was registered: its pickle calls `load`."""

from .mlops.registry.scoring import RawModel
from .project import features


def load(content):
    return RawModel(content, features.derive, load)
'''


@contextmanager
def package() -> Iterator[tuple[Path, ModuleType]]:
    """Give the package of the code as it is now: its folder, for MLflow to copy, and the imported package."""
    path = sys.path
    with tempfile.TemporaryDirectory() as folder:
        place = write(Path(folder))
        sys.path = [folder, *path]
        try:
            yield place, importlib.import_module(place.name)
        finally:
            sys.path = path
            for name in [name for name in sys.modules if name.partition(".")[0] == place.name]:
                del sys.modules[name]  # whoever loads the version has the files that came with it


def write(folder: Path) -> Path:
    """Write the package into a folder; where it is. The same code has the same name."""
    modules = _modules()
    content = [(path.as_posix(), hashlib.sha256(source).hexdigest()) for path, (source, _) in sorted(modules.items())]
    place = folder / f"code_{hashlib.sha256(repr(content).encode()).hexdigest()[:16]}"
    # With what the project's own code reads from beside itself.
    shutil.copytree(ROOT / "project", place / "project", ignore=shutil.ignore_patterns("__pycache__"))
    for path, (source, imports) in modules.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(_moved(source, imports, place.name))
    files.write_text(place / "__init__.py", ENTRY)
    return place


def digest(place: Path) -> str:
    """SHA-256 (hexadecimal) of the files of a package, its name included; of what Python compiles nothing."""
    content = {
        path.relative_to(place.parent).as_posix(): files.sha256(path)
        for path in sorted(place.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    return hashlib.sha256(repr(sorted(content.items())).encode()).hexdigest()


def _modules() -> dict[Path, tuple[bytes, list[Import]]]:
    """The modules of the project, and those of the machinery that they or `scoring` import.

    By path relative to the root: the source, and its imports of `mlops` and `project`.
    """
    own = (path.relative_to(ROOT) for path in (ROOT / "project").rglob("*.py"))
    waiting = {*_files("mlops.registry.scoring"), *own}
    found: dict[Path, tuple[bytes, list[Import]]] = {}
    while waiting:
        path = waiting.pop()
        source = (ROOT / path).read_bytes()
        imports = _own_imports(source)
        found[path] = source, imports
        for node in imports:
            names = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{name}" for name in names]
            waiting |= {file for name in names for file in _files(name)} - found.keys()
    return found


def _files(module: str) -> set[Path]:
    """The files behind an importable name, which may be one of a module's contents, and the packages around them."""
    place = Path(*module.split("."))
    places = (place, *place.parents[:-1])
    candidates = {file for at in places for file in (at.with_suffix(".py"), at / "__init__.py")}
    return {path for path in candidates if (ROOT / path).is_file()}


def _own_imports(source: bytes) -> list[Import]:
    """The statements that import `mlops` or `project` by name; none of a file that Python cannot read."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # whoever imports it says so
        return []
    return [
        node
        for node in ast.walk(tree)
        if (isinstance(node, ast.ImportFrom) and not node.level and _is_own(node.module or ""))
        or (isinstance(node, ast.Import) and any(_is_own(alias.name) for alias in node.names))
    ]


def _is_own(module: str) -> bool:
    return module.partition(".")[0] in OWN


def _moved(source: bytes, imports: list[Import], package: str) -> bytes:
    """The same module with these imports from `package`; lines keep their numbers."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node in sorted(imports, key=lambda node: (node.lineno, node.col_offset), reverse=True):
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        statement = source[start:end]
        if isinstance(node, ast.ImportFrom):
            statement = statement.replace(b"from ", f"from {package}.".encode(), 1)
        else:
            statement = "; ".join(_renamed(alias, package) for alias in node.names).encode()
        source = source[:start] + statement + source[end:]
    return source


def _renamed(alias: ast.alias, package: str) -> str:
    """The statement that binds the name of `import a.b as c` or `import a.b`; the latter binds a."""
    if not _is_own(alias.name):
        return ast.unparse(ast.Import([alias]))
    if alias.asname:
        return f"import {package}.{alias.name} as {alias.asname}"
    return f"import {package}.{alias.name}; from {package} import {alias.name.partition('.')[0]}"
