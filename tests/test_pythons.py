"""The newest Python that a project supports: its lock installs there, and the pipeline gives the same results."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import BakedProject, bake_copy
from tests.projects import REPRO, succeeds

NEWEST = (3, 13)


def interpreter() -> str:
    """The newest supported Python of this machine; "" if there is none."""
    name = f"python{NEWEST[0]}.{NEWEST[1]}"
    places = [shutil.which(name), *Path.home().glob(f".pyenv/versions/{NEWEST[0]}.{NEWEST[1]}.*/bin/{name}")]
    asked = "import sys; print(sys.version_info[:2])"
    for place in filter(None, places):
        done = subprocess.run([str(place), "-c", asked], capture_output=True, encoding="utf-8", check=False)
        if done.stdout.strip() == str(NEWEST):
            return str(place)
    return ""


@pytest.mark.skipif(sys.version_info[:2] == NEWEST, reason="all tests run on it")
def test_the_lock_installs_on_the_newest_python_and_the_results_are_those_of_this_one(
    quick: BakedProject, tmp_path: Path
) -> None:
    if not (python := interpreter()):
        pytest.skip(f"there is no Python {NEWEST[0]}.{NEWEST[1]} here")
    project = bake_copy(quick, tmp_path)
    uv = str(Path(sys.executable).with_name("uv"))
    succeeds(project, uv, "venv", "--quiet", "--python", python, ".venv")
    lock = ["--require-hashes", "--requirement", "requirements.txt"]
    succeeds(project, uv, "pip", "install", "--quiet", "--python", ".venv", *lock)
    before = project.read("reports/metrics.json")
    newer = project.with_env(PATH=f"{project.path}/.venv/bin:/usr/bin:/bin", VIRTUAL_ENV=str(project.path / ".venv"))

    succeeds(newer, *REPRO, "--quiet", "--force")

    shown = succeeds(newer, "python", "--version")
    assert shown.startswith(f"Python {NEWEST[0]}.{NEWEST[1]}")
    assert json.loads(project.read("reports/metrics.json")) == json.loads(before)
    assert json.loads(project.read("reports/registration.json"))["passed"]
