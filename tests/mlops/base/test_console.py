"""What ends a command: a signal, or an error of a stage, whose results DVC has deleted before."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mlops.base import console
from mlops.base.errors import DataError

from tests.conftest import PROJECT, TEMPLATE

COMMAND = """\
import time
from mlops.base import console

def main() -> None:
    try:
        print("begun", flush=True)
        time.sleep(60)
    finally:
        print("taken back", flush=True)

console.run(main)
"""


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_command_that_takes_back_what_it_began_even_under_nohup(
    kind: signal.Signals,
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND],
        cwd=TEMPLATE / PROJECT,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(kind, signal.SIG_IGN),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"

    process.send_signal(kind)

    assert process.communicate()[0] == "taken back\n"
    assert process.returncode == 128 + kind


@pytest.mark.parametrize(
    ("stage", "lock", "told"),
    [
        ("train", "stages:\n  train:\n    cmd: x\n", True),
        ("train", "stages:\n  prepare:\n    cmd: x\n", False),
        ("", "stages:\n  train:\n    cmd: x\n", False),
    ],
    ids=["results before", "none before", "no stage of DVC"],
)
def test_a_stage_that_fails_names_the_way_back_to_results_that_it_had(
    stage: str, lock: str, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing() -> None:
        raise DataError("no row")

    (tmp_path / "dvc.lock").write_text(lock, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", stage)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["stage"])

    with pytest.raises(SystemExit) as ended:
        console.run(failing)

    error, *more = str(ended.value).splitlines()
    assert error == "Error: no row"
    assert ["git checkout HEAD -- reports dvc.lock && dvc checkout" in line for line in more] == [True] * told
