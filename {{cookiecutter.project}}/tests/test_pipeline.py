"""dvc.yaml tells the truth about the code: a stage declares what it imports and reads, no more and no less."""

import ast
import re
import shlex
from functools import cache
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
STAGES = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
# The estimators of the project that params.yaml names, as project.estimators.Mine.
OWN = re.findall(r"(?:classifier|regressor): (project[.\w]*)\.\w+", (ROOT / "params.yaml").read_text(encoding="utf-8"))


def paths(entries: list[str | dict[str, object]]) -> set[str]:
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
    return frozenset(file for module in found for file in files_of(module))


def files_of(module: str) -> set[Path]:
    """The files behind an importable name: the module, and the `__init__.py` of each package around it."""
    place = ROOT.joinpath(*module.split("."))
    packages = {folder / "__init__.py" for folder in (place, *place.parents) if folder.is_relative_to(ROOT)}
    return {file for file in (place.with_suffix(".py"), *packages) if file.is_file()}


def closure(stage: str) -> set[str]:
    """All code that a stage runs: files of `stages/` and `project/`, folders of `mlops/`."""
    waiting = files_of(f"stages.{stage}")
    if "models/model.joblib" in paths(STAGES[stage]["deps"]) | paths(STAGES[stage]["outs"]):
        waiting = waiting.union(*map(files_of, OWN))
    seen: set[Path] = set()
    while waiting:
        path = waiting.pop()
        seen.add(path)
        waiting |= imports(path) - seen
    found = {path.relative_to(ROOT) for path in seen}
    machinery = {path.parent.as_posix() for path in found if path.parts[0] == "mlops" and len(path.parts) > 2}
    return machinery | {path.as_posix() for path in found if path.parts[0] != "mlops"}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_exactly_the_code_it_imports(stage: str) -> None:
    declared = {path for path in paths(STAGES[stage]["deps"]) if path.startswith(("stages/", "project/", "mlops/"))}
    assert declared == closure(stage)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_runs_in_the_locked_environment(stage: str) -> None:
    assert "requirements.txt" in paths(STAGES[stage]["deps"])


@pytest.mark.parametrize("stage", STAGES)
def test_every_path_of_a_command_is_a_dependency_or_an_output(stage: str) -> None:
    declared = STAGES[stage]
    known = set().union(*(paths(declared.get(kind, [])) for kind in ("deps", "outs", "metrics", "plots")))
    python, dash_m, module, *arguments = shlex.split(declared["cmd"])
    assert [python, dash_m, module] == ["python", "-m", f"stages.{stage}"]
    assert {argument for argument in arguments if not argument.startswith("-")} - known == set()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_every_file_it_depends_on_through_its_command(stage: str) -> None:
    data = {path for path in paths(STAGES[stage]["deps"]) if path.startswith(("data/", "models/"))}
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
        from mlops.base import params

        loaded |= set(params.RECORDED)
    sections = {name.partition(".")[0] for name in STAGES[stage]["params"]}
    assert sections == loaded - {"tracking", "compute"}
