"""`lock`, with a compiler that only writes down how it was called: what is written, and what is said."""

import sys
from pathlib import Path

import pytest
from mlops.__main__ import app
from mlops.base import environment
from mlops.base.errors import StoreError
from typer.testing import CliRunner, Result

UV = f"""#!{sys.executable}
import pathlib, sys
if "unsolvable" in pathlib.Path("pyproject.toml").read_text():
    sys.exit("  × No solution found:\\n  ╰─▶ Because a>=9 at https://me:secret@example.org is not there")
[output] = [word.removeprefix("--output-file=") for word in sys.argv if word.startswith("--output-file=")]
pathlib.Path("called").write_text(" ".join(sys.argv[1:]).replace(output, "OUTPUT"))
kept = pathlib.Path(output).read_text()
pathlib.Path(output).write_text(kept.replace("old==1", "old==2") + "added==3 \\\\\\n    --hash=sha256:aa\\n")
"""
LOCK = "gone==1\nold==1\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a lock, and the compiler on the PATH."""
    program = tmp_path / "bin" / "uv"
    program.parent.mkdir()
    program.write_text(UV)
    program.chmod(0o755)
    (tmp_path / "pyproject.toml").write_text('[project]\nrequires-python = ">=3.12,<3.14"\n')
    (tmp_path / "requirements.txt").write_text(LOCK)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lock(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["lock", *arguments])


def test_the_lock_is_compiled_from_what_it_was_and_what_changed_is_said(project: Path) -> None:
    done = lock("--extra", "explain", "--upgrade")

    assert done.exception is None, done.exception
    assert (project / "requirements.txt").read_text() == "gone==1\nold==2\nadded==3 \\\n    --hash=sha256:aa\n"
    install = "uv pip install --require-hashes -r requirements.txt"
    assert done.output == f"added: new → 3\nold: 1 → 2\nwrote requirements.txt; install it: {install}\n"
    assert (project / "called").read_text() == (
        "pip compile --universal --generate-hashes --no-annotate --no-header --quiet --extra=explain --upgrade "
        "--python-version=3.12 --group=dev --output-file=OUTPUT pyproject.toml"
    )


def test_a_dry_run_says_what_would_change_and_changes_nothing(project: Path) -> None:
    done = lock("--dry-run")

    assert done.output == "added: new → 3\nold: 1 → 2\n"
    assert (project / "requirements.txt").read_text() == LOCK


def test_versions_that_do_not_fit_are_one_sentence_and_the_lock_stays(project: Path) -> None:
    (project / "pyproject.toml").write_text('dependencies = ["unsolvable"]\n')

    done = lock()

    assert isinstance(done.exception, StoreError)
    assert str(done.exception) == (
        "uv failed (No solution found: Because a>=9 at https://example.org is not there): requirements.txt is as it "
        "was; correct the dependencies in pyproject.toml"
    )
    assert (project / "requirements.txt").read_text() == LOCK


def test_an_environment_without_uv_and_pip_is_installed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    pip = "python -m pip install --require-hashes -r requirements.txt"

    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None)
    assert environment.install() == f"python -m ensurepip && {pip}"
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: name)
    assert environment.install() == pip
