"""The other Pythons that a project supports: its lock installs there, and the pipeline gives the same bytes."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.conftest import BakedProject, bake_copy
from tests.projects import DVC, succeeds

NEWEST = (3, 13)
# Every stage as DVC calls it, but in one process, since a new environment has to compile what it imports.
RUN = """
import runpy, shlex, sys
from ruamel.yaml import YAML
for name, stage in YAML(typ="safe").load(open("dvc.yaml", encoding="utf-8"))["stages"].items():
    _, _, module, *arguments = shlex.split(stage["cmd"])
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        assert not end.code, (name, end.code)
    print(name)
print(sys.version_info[:2])
"""


def interpreter(version: tuple[int, int]) -> str:
    """A Python of this version on this machine; "" if there is none."""
    name = "python{}.{}".format(*version)
    places = [shutil.which(name), *Path.home().glob(f".pyenv/versions/{name.removeprefix('python')}.*/bin/{name}")]
    uv = [Path(sys.executable).with_name("uv"), "python", "find", "--managed-python", "--no-python-downloads"]
    managed = subprocess.run([*uv, name], capture_output=True, encoding="utf-8", check=False).stdout.strip()
    for place in filter(None, [*places, managed]):
        asked = [place, "-c", "import sys; print(sys.version_info[:2])"]  # pyenv's name on PATH may lead nowhere
        done = subprocess.run(asked, capture_output=True, encoding="utf-8", check=False)
        if done.stdout.strip() == str(version):
            return str(place)
    return ""


@pytest.mark.parametrize("version", [(3, 12), NEWEST], ids=str)
def test_the_lock_installs_on_another_python_and_the_results_are_those_of_this_one(
    quick: BakedProject, tmp_path: Path, version: tuple[int, int]
) -> None:
    if sys.version_info[:2] == version:
        pytest.skip("all tests run on it")
    if not (python := interpreter(version)):
        pytest.skip("there is no Python {}.{} here".format(*version))
    project = bake_copy(quick, tmp_path)
    uv = str(Path(sys.executable).with_name("uv"))
    succeeds(project, uv, "venv", "--quiet", "--python", python, ".venv")
    succeeds(project, uv, "pip", "sync", "--quiet", "--python", ".venv", "--require-hashes", "requirements.txt")
    other = project.with_env(PATH=f"{project.path}/.venv/bin:/usr/bin:/bin", PYTHONDONTWRITEBYTECODE="1")
    outs = [
        out for stage in YAML(typ="safe").load(project.read("dvc.lock"))["stages"].values() for out in stage["outs"]
    ]
    digests = {out["path"]: out["md5"] for out in outs if not out["md5"].endswith(".dir")}
    for path in digests:
        (project.path / path).unlink()

    printed = succeeds(other, "python", "-c", RUN)

    assert printed.endswith(f"\n300 rows: 0 of 19 features drifted\nmonitor\n{version}\n")
    assert "gate passed  champion" in printed
    found = {path: hashlib.md5((project.path / path).read_bytes(), usedforsecurity=False) for path in digests}
    assert {path: digest.hexdigest() for path, digest in found.items()} == digests
    assert not succeeds(project, "git", "status", "--short")
    if version == NEWEST:
        assert "up to date" in succeeds(other, *DVC, "status")
