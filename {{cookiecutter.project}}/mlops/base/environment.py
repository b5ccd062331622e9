"""Whether this Python is the one that `requirements.txt` describes: other versions can give other bytes.

Standard library only, so that it can say so in any Python: `python -m mlops.base.environment`.
"""

import ast
import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Collection
from importlib import metadata
from pathlib import Path

from mlops.base.errors import ParameterError

LOCK = Path(__file__).parents[2] / "requirements.txt"
OWN = LOCK.with_name("project")
# What the bytes of results depend on; to look at all of the lock takes 0.2 s, too long for every stage.
SCRIPTS = "Scripts" if os.name == "nt" else "bin"  # where an environment has its python
COMPUTED_WITH = frozenset({"joblib", "matplotlib", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy"})
# What every version needs; see `answers_with`.
ANSWERS_WITH = (COMPUTED_WITH | {"pydantic", "ruamel-yaml", "threadpoolctl"}) - {"matplotlib"}
USUAL = COMPUTED_WITH | {"sklearn", "project", "mlops"} | sys.stdlib_module_names  # no package has to be found for them
NEEDED_TO_START = frozenset({"dvc", "mlflow", "pydantic", "rich", "ruamel-yaml", "typer"})


def answers_with() -> frozenset[str]:
    """What a version needs, besides MLflow and the packages behind the project's own code.

    The client of an online store in Redis is among it if the lock has it. The process ends if it is not installed.
    """
    if not locks("redis"):
        return ANSWERS_WITH
    require(["redis"])
    return ANSWERS_WITH | {"redis"}


def mismatches(only: Collection[str] = ()) -> list[str]:
    """Name each package whose installed version the lock does not pin: of `only`, or of the whole lock.

    A package may be pinned twice, for older and newer Pythons; one that the lock wants on other systems only may be
    missing.
    """
    pinned: dict[str, list[str]] = {}
    elsewhere = set()
    for name, version, marker in re.findall(r"^([\w.-]+)==([^\s;]+)( ;)?", LOCK.read_text(encoding="utf-8"), re.M):
        if not only or name in only:
            pinned.setdefault(name, []).append(version)
            elsewhere |= {name} if marker else set()
    found = []
    for name, versions in pinned.items():
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            if name not in elsewhere:
                found.append(f"{name} is missing")
            continue
        if installed not in versions:
            found.append(f"{name} is {installed}, not {' or '.join(versions)}")
    return found


def pinned(names: Collection[str]) -> list[str]:
    """The installed versions of `names` as requirements, in order."""
    return [f"{name}=={metadata.version(name)}" for name in sorted(names)]


def locked(names: Collection[str]) -> dict[str, list[str]]:
    """The versions that the lock pins for each of `names`: one, or one for older and one for newer Pythons."""
    entries = re.findall(r"^([\w.-]+)==([^\s;]+)", LOCK.read_text(encoding="utf-8"), re.M)
    return {name: [version for entry, version in entries if entry == name] for name in sorted(names)}


def packages_behind(path: str) -> set[str]:
    """The packages, besides COMPUTED_WITH, that have the class at an import path, and those that project/ imports."""
    modules = {path.partition(".")[0], *own_imports()} - USUAL
    if not modules:  # to look all packages through takes 0.2 s
        return set()
    behind = metadata.packages_distributions()
    # The lock has names in their normal form (PEP 503).
    return {re.sub(r"[-_.]+", "-", name).lower() for module in modules for name in behind.get(module, [])}


def own_imports() -> set[str]:
    """The top-level modules that the files of project/ import."""
    found = set()
    for file in OWN.rglob("*.py"):
        try:
            tree = ast.parse(file.read_bytes())
        except SyntaxError:  # whoever imports it says so
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found


def require_locked(paths: Collection[str]) -> None:
    """Check that the lock pins the packages behind these import paths, in the installed versions.

    Raises:
        ParameterError: the lock lacks a package or pins another version: elsewhere it would give other bytes.
    """
    for name in sorted(set().union(*map(packages_behind, paths))):
        if not locks(name):
            raise ParameterError(
                f"{name} is not in requirements.txt: add it to the dependencies in pyproject.toml, and run `python -m "
                "mlops lock`"
            )
        if wrong := mismatches([name]):
            raise ParameterError(f"{wrong[0]} as in requirements.txt: install it (`{install()}`)")


def locks(name: str) -> bool:
    """Whether the lock has a package."""
    return re.search(rf"^{re.escape(name)}==", LOCK.read_text(encoding="utf-8"), re.M) is not None


def install() -> str:
    """The command that installs the lock into this environment; one that uv has made has no pip."""
    if shutil.which("uv"):
        return "uv pip install --require-hashes -r requirements.txt"
    ensure = "" if importlib.util.find_spec("pip") else "python -m ensurepip && "
    return f"{ensure}python -m pip install --require-hashes -r requirements.txt"


def require(only: Collection[str] = ()) -> None:
    """End the process with one sentence if the installed packages are not those of the lock."""
    found = mismatches(only)
    if found:
        sys.exit(
            f"Error: {sys.executable} is not the environment of requirements.txt: {'; '.join(found[:5])}"
            f"{' …' if len(found) > 5 else ''}. Activate the project's environment (`source .venv/bin/activate`), or "
            f"bring this one up to date (`{install()}`)."
        )


def unusable(error: ImportError) -> str:
    """What to do about a package that cannot be imported, in a sentence; "" if the project's own code lacks a name."""
    name = (error.name or "").partition(".")[0]
    if name in {"mlops", "stages", "project"}:
        return ""
    said = f"{error.name} is missing" if isinstance(error, ModuleNotFoundError) and name else str(error)
    again = "" if isinstance(error, ModuleNotFoundError) else "; if it has them already, make it anew"
    return (
        f"a package cannot be imported ({said}), so {sys.executable} is not the environment of requirements.txt: "
        f"activate the project's environment (`source .venv/bin/activate`), or bring this one up to date "
        f"(`{install()}`){again}"
    )


if __name__ == "__main__":
    require()
