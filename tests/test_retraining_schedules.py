"""What runs retraining outside of CI: the units of systemd, the line for cron, the examples for Airflow and Prefect."""

import ast
import configparser
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import PROJECT, TEMPLATE, surroundings

DEPLOY = TEMPLATE / PROJECT / "deploy"
DOCS = sorted((TEMPLATE / PROJECT / "docs").glob("retraining*.md"))
UNITS = ("retrain@.service", "retrain@.timer")


def blocks(language: str) -> list[str]:
    """The code blocks of the page in this language, in the project `churn`."""
    text = "".join(page.read_text(encoding="utf-8") for page in DOCS).replace("{{ cookiecutter.project }}", "churn")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def verified(folder: Path, *units: str) -> str:
    """What systemd has to say against units: its exit code is 0 even for a key that it does not know."""
    program = shutil.which("systemd-analyze")
    assert program, "systemd-analyze is needed: apt-get install systemd"
    command = [program, "--user", "verify", *(str(folder / unit) for unit in units)]
    env = surroundings(folder, XDG_RUNTIME_DIR=str(folder))
    return subprocess.run(command, env=env, capture_output=True, text=True).stderr


def test_systemd_understands_every_line_of_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        shutil.copy(DEPLOY / unit, tmp_path)
    assert verified(tmp_path, *UNITS) == ""

    broken = tmp_path / UNITS[0]
    broken.write_text(broken.read_text(encoding="utf-8").replace("KillMode=", "KillMood="), encoding="utf-8")
    assert "KillMood" in verified(tmp_path, *UNITS)


def test_the_timer_makes_up_for_what_was_missed_and_the_service_is_run_to_its_end() -> None:
    units = {}
    for unit in UNITS:
        units[unit] = configparser.RawConfigParser(strict=False)
        units[unit].optionxform = str  # type: ignore[assignment,method-assign]
        units[unit].read(DEPLOY / unit, encoding="utf-8")
    service, timer = (units[unit] for unit in UNITS)

    assert timer["Timer"]["Persistent"] == "true"
    assert "RandomizedDelaySec" in timer["Timer"]
    assert service["Service"]["Type"] == "oneshot"
    assert service["Service"]["ExecStart"].endswith(" -m mlops retrain $RETRAIN_OPTIONS")
    assert service["Service"]["WorkingDirectory"] == "%f"  # the folder that the instance names


@pytest.mark.parametrize("code", [0, 1])
def test_two_runs_of_the_cron_line_are_one_and_only_a_failure_is_mailed(code: int, tmp_path: Path) -> None:
    ((line,),) = (block.splitlines() for block in blocks("cron"))
    when, command = re.fullmatch(r"((?:\S+ ){5})(.*)", line).groups()  # type: ignore[union-attr]
    assert when.split()[0] not in {"0", "*"}
    assert "%" not in command  # of which cron would make line ends
    project = tmp_path / "churn"
    python = project / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    (project / ".git").mkdir()
    python.write_text(f'#!/bin/sh\necho "$*"\necho wrong >&2\nwhile [ ! -e end ]; do sleep 0.02; done\nexit {code}\n')
    python.chmod(0o755)
    started = ["/bin/sh", "-c", command.replace("/srv/churn", str(project))]
    log = project / ".git" / "retrain.log"

    with subprocess.Popen(started, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as first:
        while not (log.exists() and log.read_text()):
            assert first.poll() is None
            time.sleep(0.01)
        second = subprocess.run(started, capture_output=True, text=True)
        (project / "end").touch()
        mailed = first.communicate(timeout=20)

    assert log.read_text() == "-m mlops retrain\nwrong\n"
    assert mailed == (log.read_text() * code, "")
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")


def test_the_examples_for_other_schedulers_are_python_and_call_the_command() -> None:
    examples = [block for block in blocks("python") if re.search("^from (airflow|prefect)", block, re.MULTILINE)]

    assert len(examples) == 2
    for example in examples:
        calls = {ast.unparse(node) for node in ast.walk(ast.parse(example)) if isinstance(node, ast.keyword)}
        assert "cwd='/srv/churn'" in calls
        assert re.search(r"-m mlops retrain|'-m', 'mlops', 'retrain'", example.replace('"', "'"))


@pytest.mark.skipif(os.name == "nt", reason="for bash")
def test_every_line_for_a_shell_is_one() -> None:
    for block in blocks("bash"):
        done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), block
