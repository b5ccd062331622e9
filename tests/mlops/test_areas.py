"""The machinery's areas: each imports only areas before it, the pure ones touch nothing outside, the heavy waits."""

import ast
from pathlib import Path

import pytest
from mlops.history import paths
from ruamel.yaml import YAML

from tests.conftest import PROJECT, TEMPLATE

ROOT = TEMPLATE / PROJECT
MLOPS = ROOT / "mlops"
AREAS = [
    *("base", "data", "drafting", "training", "evaluation", "monitoring"),
    *("intake", "history", "alerting", "registry", "serving"),
    *("rollout", "retraining", "simulation", "health", "assessment", "commands"),
]
PURE = ["data", "drafting", "training", "evaluation", "monitoring"]
# What reads or writes disk, clock, network or another process.
OUTSIDE = {
    *("aiohttp", "fsspec", "http", "mlflow", "os", "pathlib", "random", "requests", "secrets", "shutil"),
    *("socket", "sqlalchemy", "sqlite3", "subprocess", "tempfile", "time", "urllib", "uuid", "dvc"),
}
OUTSIDE_CALLS = {"open", "input", "print", "now", "today", "utcnow", "read_text", "write_text"}
HEAVY = {
    *("mlflow", "sklearn", "matplotlib", "pandera", "joblib", "optuna"),
    *("dvc", "sqlalchemy", "fsspec", "scipy", "treelite", "distributed"),
}


def modules(area: str) -> list[Path]:
    return sorted((MLOPS / area).rglob("*.py"))


def imported(path: Path, *, top: bool = False) -> set[str]:
    """All that a module imports, `from a import b` as a and a.b; at its `top` only, if asked for."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in tree.body if top else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def packages(path: Path, *, top: bool = False) -> set[str]:
    return {name.partition(".")[0] for name in imported(path, top=top)}


EVERYTHING = [*sorted(MLOPS.rglob("*.py")), *sorted((ROOT / "stages").glob("*.py"))]


def test_every_folder_is_a_known_area() -> None:
    assert {path.name for path in MLOPS.iterdir() if path.is_dir()} - {"__pycache__"} <= set(AREAS)
    assert sorted(path.name for path in MLOPS.glob("*.py")) == ["__init__.py", "__main__.py"]


@pytest.mark.parametrize("area", AREAS)
def test_an_area_imports_only_areas_before_it(area: str) -> None:
    before = AREAS[: AREAS.index(area) + 1]
    for path in modules(area):
        used = {name.split(".")[1] for name in imported(path) if name.startswith("mlops.")}
        assert used <= set(before), path


@pytest.mark.parametrize("area", PURE)
def test_a_pure_area_touches_no_disk_clock_or_network(area: str) -> None:
    for path in modules(area):
        assert packages(path) & OUTSIDE == set(), path
        of_base = {name.split(".")[2] for name in imported(path) if name.startswith("mlops.base.")}
        assert of_base <= {"errors", "names", "parallel", "params"}, path
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        called = {call.id if isinstance(call, ast.Name) else getattr(call, "attr", "") for call in calls}
        assert called & OUTSIDE_CALLS == set(), path


def test_mlflow_is_imported_in_the_registry_only_and_models_are_loaded_by_one_module() -> None:
    assert {path.parent.name for path in EVERYTHING if "mlflow" in packages(path)} == {"registry"}
    loads = [path.name for path in EVERYTHING if "joblib.load" in path.read_text(encoding="utf-8")]
    assert loads == ["model_files.py"]


def test_nobody_imports_stages_and_only_three_import_the_project() -> None:
    for path in MLOPS.rglob("*.py"):
        assert "stages" not in packages(path), path
    importing = {path.relative_to(ROOT).parts[:2] for path in EVERYTHING if "project" in packages(path)}
    assert {part[0] if part[0] == "stages" else part[1] for part in importing} <= {"stages", "serving", "commands"}


def test_what_is_heavy_is_imported_inside_functions_only() -> None:
    for path in EVERYTHING:
        if path.name != "target_encoder.py":  # of a class of scikit-learn's kind; only a function imports the module
            assert packages(path, top=True) & HEAVY == set(), path


def test_the_package_itself_holds_no_code_so_that_no_stage_has_to_depend_on_it() -> None:
    for init in MLOPS.rglob("__init__.py"):
        [docstring] = ast.parse(init.read_text(encoding="utf-8")).body
        assert isinstance(docstring, ast.Expr), init


def test_every_result_that_has_a_name_is_an_output_of_the_pipeline() -> None:
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    written = {
        entry if isinstance(entry, str) else next(iter(entry))
        for stage in stages.values()
        for kind in ("outs", "metrics", "plots")
        for entry in stage.get(kind, [])
    }
    named = {value.as_posix() for value in vars(paths).values() if isinstance(value, Path)}
    results = {name for name in named if name.startswith(("reports/", "models/", "data/prepared/"))}
    assert results - {paths.AUDIT.as_posix()} <= written
    texts = [(path, path.read_text(encoding="utf-8")) for path in MLOPS.rglob("*.py") if path.name != "paths.py"]
    assert [path.name for path, text in texts if any(f'Path("{name}")' in text for name in results)] == []
