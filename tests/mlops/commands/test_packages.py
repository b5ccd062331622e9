"""`packages`, with a stand-in for pip-audit that takes its arguments and writes its JSON: what is listed and judged."""

import json
import sys
from importlib import metadata
from pathlib import Path

import pytest
from mlops.__main__ import app
from mlops.base.errors import StoreError
from typer.testing import CliRunner, Result

# What pip-audit 2.10.1 does and writes: one version of a package at a time, 1 if something was found, no file where its
# service cannot be reached, and an exit code of 0 where the service knows no package.
PIP_AUDIT = f"""#!{sys.executable}
import json, os, pathlib, sys
given = dict(word.partition("=")[::2] for word in sys.argv[1:])
pathlib.Path("called").open("a").write(" ".join(sorted(given)) + "\\n")
service = os.environ["SERVICE"]
if service == "gone":
    sys.exit("Traceback:\\nConnectionError: no route to http://me:secret@example.org\\nERROR: Tip: use `-s SERVICE`")
pins = [line.split("==") for line in pathlib.Path(given["--requirement"]).read_text().split()]
assert len(dict(pins)) == len(pins), "duplicate requirements"
bad = {{
    "id": "CVE-2026-1", "fix_versions": ["9.1"], "aliases": ["GHSA-aaaa"], "description": "Somebody can read files."
}}
ignored = given.get("--ignore-vuln") == bad["id"]
known = [
    {{"name": name, "version": version, "vulns": [bad] if version == "1.5" and not ignored else []}}
    if service == "there" and name != "own"
    else {{"name": name, "skip_reason": f"Dependency not found on PyPI and could not be audited: {{name}}"}}
    for name, version in pins
]
pathlib.Path(given["--output"]).write_text(json.dumps({{"dependencies": known, "fixes": []}}))
sys.exit(int(any(each.get("vulns") for each in known)))
"""
TYPER = metadata.version("typer")
HASH = f" \\\n    --hash=sha256:{'0' * 64}\n"
LOCK = "".join(
    line + HASH
    for line in (
        "numerics==1.5 ; python_full_version < '3.12'",
        "numerics==1.6 ; python_full_version >= '3.12'",
        f"typer=={TYPER}",
    )
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a lock, and the stand-in on the PATH."""
    program = tmp_path / "bin" / "pip-audit"
    program.parent.mkdir()
    program.write_text(PIP_AUDIT)
    program.chmod(0o755)
    (tmp_path / "requirements.txt").write_text(LOCK)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setenv("SERVICE", "there")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def packages(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["packages", *arguments])


def test_every_locked_version_is_listed_with_its_licence_and_nothing_is_asked(project: Path) -> None:
    done = packages()

    assert done.exit_code == 0, done.output
    width = len(f"typer {TYPER}")
    assert done.output.splitlines() == [
        f"{'numerics 1.5':<{width}}  unknown (only if python_full_version < '3.12')",
        f"{'numerics 1.6':<{width}}  unknown (only if python_full_version >= '3.12')",
        f"typer {TYPER}  MIT",
        "",
        "3 packages in requirements.txt",
        "licence unknown, not named or not installed here: numerics 1.5, numerics 1.6",
    ]
    assert not (project / "called").exists()


def test_a_vulnerable_version_is_named_whatever_python_it_is_for(project: Path) -> None:
    done = packages("--audit")

    assert done.exit_code == 3
    assert done.output.splitlines()[-3:] == [
        "vulnerable: numerics 1.5 by CVE-2026-1 = GHSA-aaaa, fixed in 9.1: Somebody can read files.",
        "1 known vulnerability in 3 packages",
        "`python -m mlops lock --upgrade` takes newer versions",
    ]
    asked = "--disable-pip --format --no-deps --output --progress-spinner --requirement\n"
    assert (project / "called").read_text() == asked * 2  # pip-audit takes one version of a package at a time

    found = json.loads(packages("--audit", "--json").output)["packages"]
    assert [len(each["vulnerabilities"]) for each in found] == [1, 0, 0]
    assert found[0]["only_if"] == "python_full_version < '3.12'"
    assert found[2] == {"name": "typer", "version": TYPER, "only_if": None, "licence": "MIT", "vulnerabilities": []}

    done = packages("--audit", "--ignore", "CVE-2026-1")
    assert (done.exit_code, done.output.splitlines()[-1]) == (
        0,
        "0 known vulnerabilities in 3 packages, without CVE-2026-1",
    )


@pytest.mark.parametrize(
    ("service", "said"),
    [
        ("gone", r"has not said .* \(ConnectionError: no route to http://example\.org\): see that its service can be"),
        ("empty", r"knows none of the packages, .*Dependency not found on PyPI"),
    ],
)
def test_a_service_that_does_not_answer_is_no_clean_bill(
    project: Path, monkeypatch: pytest.MonkeyPatch, service: str, said: str
) -> None:
    monkeypatch.setenv("SERVICE", service)

    done = packages("--audit")

    assert isinstance(done.exception, StoreError)
    assert done.output == ""
    with pytest.raises(StoreError, match=said):
        raise done.exception


def test_a_package_that_the_service_does_not_know_is_not_counted_as_sound(project: Path) -> None:
    (project / "requirements.txt").write_text(f"own==2.0{HASH}typer=={TYPER}{HASH}")

    done = packages("--audit")

    assert done.output.splitlines()[-2:] == [
        "0 known vulnerabilities in 1 package",
        "the service does not know, so that nobody can say: own 2.0",
    ]
    assert json.loads(packages("--audit", "--json").output)["packages"][0]["vulnerabilities"] is None


@pytest.mark.parametrize(
    ("lock", "said"),
    [
        ("", "nothing"),
        ("# of nothing\n", "nothing"),
        (f"{LOCK}<<<<<<< HEAD\n", "the line `<<<<<<< HEAD`"),
        (f"{LOCK}-r others.txt\n", "the line `-r others.txt`"),
        (f"{LOCK}zipp==3.2", "the line `zipp==3.2`"),
        (f"{LOCK}zipp==3.2 \\\n", "the line `zipp==3.2 \\`"),
    ],
)
def test_a_lock_that_is_not_read_to_its_end_is_no_clean_bill(project: Path, lock: str, said: str) -> None:
    (project / "requirements.txt").write_text(lock)

    done = packages("--audit")

    assert isinstance(done.exception, StoreError)
    assert str(done.exception).startswith(f"requirements.txt has {said} where a pinned package (name==version)")
    assert not (project / "called").exists()


def test_lines_that_name_no_package_are_passed_over(project: Path) -> None:
    lines = "# by hand\n--no-index\n--find-links wheels\n--only-binary :all:\n\n"
    (project / "requirements.txt").write_text(f"{lines}{LOCK}    # via nothing\n")

    assert "3 packages in requirements.txt" in packages().output


def test_a_licence_can_be_denied(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    licences = {"a": "GPL-3.0-only", "b": "LGPL-3.0-only", "c": "MIT OR GPL-3.0-only", "d": "MIT AND GPL-3.0-or-later"}
    (project / "requirements.txt").write_text("".join(f"{name}==1{HASH}" for name in licences))
    monkeypatch.setattr("mlops.rollout.bill.licence", lambda library: licences[library["name"]])

    done = packages("--deny", "gpl-3.0")

    assert done.exit_code == 3
    assert done.output.splitlines()[-2:] == [
        "licence denied: a 1 (GPL-3.0-only)",
        "licence denied: d 1 (MIT AND GPL-3.0-or-later)",
    ]
