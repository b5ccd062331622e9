"""dvc.yaml tells the truth about the code: what a stage imports and reads is what it declares, no more and no less."""

import ast
import shlex
from functools import cache
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
PACKAGES = ("stages", "ml", "store", "ops", "serving")
STAGES = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def names(entries: list[str | dict[str, object]]) -> set[str]:
    """The paths of DVC entries, which are a path, or a path with its options."""
    return {entry if isinstance(entry, str) else next(iter(entry)) for entry in entries}


@cache
def imports(path: Path) -> frozenset[Path]:
    """The project's own files that importing `path` imports, those under `if TYPE_CHECKING` aside."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    files = {path.parent / "__init__.py"}
    for module in found:
        parts = module.split(".")
        if parts[0] in PACKAGES:
            for candidate in (ROOT.joinpath(*parts).with_suffix(".py"), ROOT.joinpath(*parts, "__init__.py")):
                files |= {candidate} if candidate.is_file() else set()
    return frozenset(files)


def closure(stage: str) -> set[str]:
    """Every file of the project that a stage runs, and the templates of those that fill one."""
    seen: set[Path] = set()
    waiting = {ROOT / "stages" / f"{stage}.py"}
    while waiting:
        path = waiting.pop()
        seen.add(path)
        waiting |= imports(path) - seen
    pages = set((ROOT / "store" / "templates").iterdir()) if ROOT / "store" / "pages.py" in seen else set()
    return {path.relative_to(ROOT).as_posix() for path in seen} | {
        path.relative_to(ROOT).as_posix() for path in pages if path.name == "page.html" or _fills(stage, path.name)
    }


def _fills(stage: str, template: str) -> bool:
    return f'"{template}"' in (ROOT / "stages" / f"{stage}.py").read_text(encoding="utf-8")


def declared_code(stage: str) -> set[str]:
    return (
        {path for path in names(STAGES[stage]["deps"]) if path.endswith((".py", ".html", ".md")) and "/" in path}
        - names(STAGES[stage].get("outs", []))
        - {"reports/evaluation.html"}
    )


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_exactly_the_code_it_imports(stage: str) -> None:
    assert declared_code(stage) == closure(stage)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_runs_in_the_locked_environment(stage: str) -> None:
    assert "requirements.txt" in names(STAGES[stage]["deps"])


@pytest.mark.parametrize("stage", STAGES)
def test_every_path_of_a_command_is_a_dependency_or_an_output(stage: str) -> None:
    declared = STAGES[stage]
    known = set().union(*(names(declared.get(kind, [])) for kind in ("deps", "outs", "metrics", "plots")))
    python, dash_m, module, *arguments = shlex.split(declared["cmd"])
    assert [python, dash_m, module] == ["python", "-m", f"stages.{stage}"]
    assert {argument for argument in arguments if not argument.startswith("-")} - known == set()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_every_file_it_depends_on_through_its_command(stage: str) -> None:
    data = {path for path in names(STAGES[stage]["deps"]) if path.startswith(("data/", "models/"))}
    assert data <= set(shlex.split(STAGES[stage]["cmd"]))


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_exactly_the_parameters_it_loads(stage: str) -> None:
    tree = ast.parse((ROOT / "stages" / f"{stage}.py").read_text(encoding="utf-8"))
    loaded = {
        call.args[0].attr.lower()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "load"
        and isinstance(call.args[0], ast.Attribute)
    }
    if stage == "register":
        from store import params

        loaded |= set(params.RECORDED)
    assert set(STAGES[stage]["params"]) == loaded - {"tracking"}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).glob("*.py"))


def imported_packages(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("ml", {"stages", "store", "ops", "serving", "mlflow"}),
        ("store", {"stages", "ops", "serving"}),
        ("ops", {"stages", "mlflow"}),
        ("serving", {"stages", "mlflow"}),
        ("stages", {"ops", "serving", "mlflow"}),
    ],
)
def test_a_room_imports_only_what_it_may(package: str, forbidden: set[str]) -> None:
    broken = {path.name: imported_packages(path) & forbidden for path in modules(package)}
    assert {name: found for name, found in broken.items() if found} == {}


def test_mlflow_is_imported_by_one_module_and_models_are_loaded_by_one() -> None:
    everything = [path for package in PACKAGES for path in modules(package)]
    assert [path.name for path in everything if "mlflow" in imported_packages(path)] == ["registry.py"]
    loads = [path.name for path in everything if "joblib.load" in path.read_text(encoding="utf-8")]
    assert loads == ["files.py"]


def test_what_is_heavy_is_imported_inside_functions_only() -> None:
    heavy = {"mlflow", "sklearn", "matplotlib", "pandera", "joblib"}
    for package in PACKAGES:
        for path in modules(package):
            top = ast.parse(path.read_text(encoding="utf-8")).body
            found = {
                name.partition(".")[0]
                for node in top
                for name in (
                    [alias.name for alias in node.names]
                    if isinstance(node, ast.Import)
                    else [node.module or ""]
                    if isinstance(node, ast.ImportFrom)
                    else []
                )
            }
            assert found & heavy == set(), path
