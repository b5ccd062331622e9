"""What ends a command: a full disk, too little memory, a place that nobody may write to, a signal, an error."""

import errno
import importlib
import os
import py_compile
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from mlops.base import console, errors, files
from mlops.base.errors import DataError, ParameterError

from tests.conftest import PROJECT, TEMPLATE


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], str]:
    """A function that runs a command as the command line does; with what it ends."""
    monkeypatch.setattr(console.gc, "set_threshold", lambda *_: None)  # of the tests' own process
    monkeypatch.setattr(console.atexit, "register", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["stage"])

    def run(command: Callable[[], None]) -> str:
        with pytest.raises(SystemExit) as ended:
            console.run(command)
        return str(ended.value)

    return run


@pytest.mark.parametrize("kept", [20, 60])
@pytest.mark.parametrize("caught", [False, True], ids=["not caught", "taken for another error"])
def test_compiled_code_that_a_full_disk_cut_off_is_named_with_the_remedy(
    said: Callable[[Callable[[], None]], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int, caught: bool
) -> None:
    source = tmp_path / f"cut_off_{kept}_{caught}.py"
    source.write_text("NUMBERS = [1, 2, 3]\n", encoding="utf-8")
    compiled = Path(py_compile.compile(str(source), doraise=True) or "")
    compiled.write_bytes(compiled.read_bytes()[:kept])
    monkeypatch.syspath_prepend(tmp_path)

    def command() -> None:
        try:
            importlib.import_module(source.stem)
        except EOFError as error:
            if caught:
                raise ParameterError("the forest could not be fitted") from None
            raise error

    sentence = said(command)

    assert sentence.startswith(f"Error: {compiled} is broken")
    assert sentence.endswith(f"-m compileall -q -f {tmp_path}`") or sentence.endswith("-m compileall -q -f .`")


def test_the_end_of_an_input_is_no_broken_file(said: Callable[[Callable[[], None]], str]) -> None:
    def command() -> None:
        raise EOFError

    assert said(command) == "1"  # Typer says "Aborted."


def test_too_little_memory_is_said_whatever_was_made_of_it(said: Callable[[Callable[[], None]], str]) -> None:
    def command() -> None:
        try:
            raise MemoryError("Unable to allocate 8.00 GiB for an array")
        except MemoryError:
            raise ParameterError("the forest could not be fitted") from None

    assert said(command) == f"Error: {errors.MEMORY}"


def test_without_a_temporary_folder_a_command_says_how_to_name_one(
    said: Callable[[Callable[[], None]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", list)

    assert said(tempfile.mkdtemp).endswith("set TMPDIR to one")


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_place_that_cannot_be_used_is_one_sentence(said: Callable[[Callable[[], None]], str], code: int) -> None:
    def command() -> None:
        raise OSError(code, os.strerror(code), "reports")

    assert said(command).startswith(f"Error: reports could not be used: {os.strerror(code)}")


def test_a_bug_keeps_its_traceback(said: Callable[[Callable[[], None]], str], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        console.run(lambda: files.Path(tmp_path / "gone").read_text())


@pytest.mark.parametrize(
    ("said", "code"),
    [("failed to run: python -m stages.train, exited with -9", 255), ("", -9), ("exit code 137", 1)],
)
def test_a_process_that_the_kernel_killed_had_too_little_memory(said: str, code: int) -> None:
    assert errors.with_memory(said, code).endswith(errors.MEMORY)
    assert errors.with_memory(said, code).startswith(said or "it was killed")
    assert errors.with_memory("exited with 1", 1) == "exited with 1"


# ---- signals, and results that are gone

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
