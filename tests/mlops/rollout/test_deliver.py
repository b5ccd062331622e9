"""`deliver` and `package` as people call them: what they refuse, what they print, and their exit codes."""

import io
import json
import os
import shutil
import sys
import tarfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import Result
from mlops.__main__ import app
from mlops.base import files, locks, params
from mlops.base.errors import ParameterError, StoreError
from mlops.commands.production.deliver import deliver
from mlops.history import git, paths, revisions
from mlops.registry.registry import Version
from mlops.rollout import flow, image, package, release
from mlops.rollout.release import Outcome, Released, Standing
from mlops.serving import admin
from mlops.serving.client import Client
from typer.testing import CliRunner

VERSION = Version("3", (), "", "run", "", {"model_digest": "a" * 64, "commit": "c" * 40})
EVIDENCE = {"mean": 0.8, "limit": 100.0, "requests": {"challenger": 31, "champion": 1029}, "metrics": {}}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose version 3 a registry has, which is stood in for."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLOPS_SERVER_URL", "MLOPS_ADMIN_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(flow, "_recorded", lambda *_: ["gate passed  minimum", "new run 1, version 3"])
    facts = {"name": "churn", "model": "a" * 64, "commit": "c" * 40, "delivered_from": "e" * 40}
    monkeypatch.setattr(flow, "_version", lambda: ("3", "2", dict(facts)))
    monkeypatch.setattr(flow, "in_production", lambda: "2")
    monkeypatch.setattr(flow, "_way", lambda *_, **__: None)
    monkeypatch.setattr(flow, "_copy_log", lambda _: False)
    Path("params.yaml").write_text("register: {name: churn}\n")
    judged(passed=True)
    return tmp_path


def judged(*, passed: bool) -> None:
    files.write_json(paths.REGISTRATION, {"passed": passed})


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def becomes(monkeypatch: pytest.MonkeyPatch, outcome: Outcome, sentence: str = "as it was said", **more: Any) -> None:
    monkeypatch.setattr(release, "release", lambda *_: Released(outcome, sentence, "2", **more))


def test_a_copy_of_the_log_is_to_be_committed_whoever_wrote_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written: list[list[str]] = []
    monkeypatch.setattr(flow.registry, "configured", lambda: nullcontext((None, SimpleNamespace(name="churn"))))
    monkeypatch.setattr(flow.audit, "read", lambda *_: ["entry"])
    monkeypatch.setattr(flow.audit, "mirrored", lambda: paths.AUDIT.read_text().split())
    monkeypatch.setattr(flow.audit, "write_copy", lambda entries: written.append(entries))
    files.write_text(paths.AUDIT, "entry")  # by the server, which stands in this clone
    for command in (["init", "--quiet"], ["add", "."]):
        git.run(*command)

    assert flow._copy_log(print)
    git.run("-c", "user.name=Ada", "-c", "user.email=ada@localhost", "commit", "--quiet", "-m", "promoted")
    assert not flow._copy_log(print)
    assert written == []


@pytest.mark.parametrize(
    ("outcome", "code", "headline"),
    [
        ("promoted", 0, "Version 3 is in production, instead of version 2."),
        ("in production", 0, "Version 3 is in production: there was nothing to do."),
        ("rolled back", 3, "Version 3 was rolled back: version 2 is in production."),
        ("waiting", 3, "Version 3 waits for a person: version 2 is in production."),
        ("undecided", 3, "Version 3 is in its canary: version 2 is in production."),
    ],
)
def test_the_report_says_what_became_of_the_version_and_so_does_the_exit_code(
    outcome: Outcome, code: int, headline: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    becomes(monkeypatch, outcome, "#1 of @ada", evidence=EVIDENCE)

    done, plain = run("deliver", "--no-canary"), run("deliver", "--no-canary", "--json")

    assert (done.exit_code, plain.exit_code) == (code, code)
    assert f"**{headline}**" in done.stdout
    assert "| requests in the canary | 31 to version 3, 1,029 to the version before |" in done.stdout
    assert f"| commit of the version | `{'c' * 40}` |\n| delivered from | `{'e' * 40}` |" in done.stdout
    assert "@ada" not in done.stdout.replace("`@ada`", "")  # nobody is told by a report
    found = json.loads(plain.stdout)
    assert (found["outcome"], found["version"], found["before"]) == (outcome, "3", "2")
    assert found["steps"] == ["recording the result in the registry", "the result is version 3 of churn"]


def test_a_result_that_the_gate_refuses_now_is_not_delivered_as_the_version_of_an_earlier_one(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(passed=False)
    monkeypatch.setattr(release, "release", lambda *_: pytest.fail("it was released"))

    done, planned = run("deliver", "--no-canary"), run("deliver", "--no-canary", "--dry-run")

    assert (done.exit_code, planned.exit_code) == (3, 0)
    assert "**No version was made: version 2 is in production.**" in done.stdout
    last = "version: 3 has this model, but the gate refuses it now: nothing would be delivered"
    assert planned.stdout.splitlines()[-1] == last


@pytest.mark.parametrize(("mode", "code", "outcome"), [("enforce", 3, "refused"), ("dry_run", 0, "none asked for")])
def test_a_result_that_the_gate_refuses_is_not_delivered(
    mode: str, code: int, outcome: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("params.yaml").write_text(f"register: {{name: churn, mode: {mode}}}\n")
    monkeypatch.setattr(flow, "_version", lambda: ("", "2", {"name": "churn"}))

    done = run("deliver", "--no-canary", "--json")

    assert (done.exit_code, json.loads(done.stdout)["outcome"]) == (code, outcome)


def test_without_a_server_it_has_to_be_said_that_there_is_none(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for options in ((), ("--dry-run",)):
        with pytest.raises(ParameterError, match="MLOPS_SERVER_URL is not set, and version 2 is in production"):
            run("deliver", *options)
    monkeypatch.setenv("MLOPS_SERVER_URL", "http://127.0.0.1:9")
    with pytest.raises(ParameterError, match="not both"):
        run("deliver", "--no-canary")
    with pytest.raises(ParameterError, match="MLOPS_ADMIN_KEY is not set"):
        run("deliver")


@pytest.mark.parametrize(("options", "last"), [((), "promoted"), (("--dry-run",), "promoted without a canary")])
def test_the_first_version_of_all_needs_no_server(
    options: tuple[str, ...], last: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    becomes(monkeypatch, "promoted")
    monkeypatch.setattr(flow, "in_production", lambda: "")
    monkeypatch.setattr(flow, "_version", lambda: ("3", "", {"name": "churn"}))
    standing = Standing(VERSION, [], None, params.Register(approval="off"))
    monkeypatch.setattr(release, "standing", lambda _: standing)

    done = run("deliver", "--json", *options)

    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert (found[-1] if options else found["outcome"]).endswith(last)


class Terminal(io.StringIO):
    """What a person looks at."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_the_report_without_the_signs_of_markdown(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    becomes(monkeypatch, "promoted", "a_b is `there`")
    piped = run("deliver", "--no-canary").stdout
    monkeypatch.setattr(sys, "stdout", screen := Terminal())

    deliver(no_canary=True)

    assert "**Version 3 is in production" in piped
    assert r"a\_b is \`there\`" in piped
    assert "a_b is `there`" in screen.getvalue()
    assert not [sign for sign in ("**", "##", "\\", "|") if sign in screen.getvalue()]


def test_of_two_at_once_the_second_says_so_and_stops(project: Path) -> None:
    flow.FOLDER.mkdir()
    with locks.exclusive(flow.FOLDER / "deliver.lock", ""), pytest.raises(StoreError, match="another `deliver`"):
        run("deliver", "--no-canary")


@pytest.mark.parametrize(
    ("found", "settings", "last"),
    [
        ("c", {}, "production: it would wait for a person"),
        ("", {"approval": "off"}, "production: it would wait for a person"),
        ("c", {"approval": "off"}, "production: it would be promoted without a canary"),
        ("c", {"approval": "off", "remade": "required"}, "production: it would be promoted without a canary"),
    ],
)
def test_a_dry_run_says_each_step_and_where_it_would_wait(
    found: str, settings: dict[str, Any], last: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = Version("2", ("champion",), "", "run", "", {})
    uncommitted = replace(VERSION, tags={"model_digest": "a" * 64})  # `sync` is what would record its commit
    standing = Standing(uncommitted, [], live, params.Register(**settings))
    monkeypatch.setattr(release, "standing", lambda _: standing)
    monkeypatch.setattr(
        revisions, "commits_of", lambda *_, passed: [revisions.Commit(found * 40, "Ada")] if found and passed else []
    )

    done = run("deliver", "--no-canary", "--reproduce", "--dry-run")

    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["sync", "sync", "version", "made again", "approval", "production"]
    assert lines[-1] == last
    assert ("no commit is known" in lines[-2]) == (not found)
    assert ("python -m mlops approve 3" in lines[-2]) == (not settings)
    assert not flow.FOLDER.exists()


@pytest.mark.parametrize(
    ("live", "route", "last"),
    [
        ("2", {"mode": "champion"}, "canary: it would be begun, and watched until the server promotes the version or"),
        ("2", {"mode": "canary", "challenger": "3"}, "canary: it is running, and watched until the server promotes"),
        ("", {"mode": "champion"}, "production: it would be promoted without a canary"),  # the first version of all
    ],
)
def test_a_dry_run_with_a_server_says_what_a_delivery_does(
    live: str, route: dict[str, Any], last: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A canary that a person has begun goes on without an approval.
    approval = "required" if route["mode"] == "canary" else "off"
    standing = Standing(VERSION, [], None, params.Register(approval=approval))
    monkeypatch.setattr(release, "standing", lambda _: standing)
    monkeypatch.setattr(flow, "_version", lambda: ("3", live, {"name": "churn"}))
    monkeypatch.setattr(admin, "state", lambda _: {"route": route, "described": "all to version 2"})

    assert flow.planned(Client("http://127.0.0.1:9"))[-1].startswith(last)


def test_a_dry_run_of_a_result_without_a_version_waits_for_its_approval(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "_version", lambda: ("", "2", {}))

    last = run("deliver", "--no-canary", "--dry-run").stdout.splitlines()[-1]

    assert last == "approval: a new version has none: it would wait for a person"


def test_a_delivery_from_a_branch_that_is_not_the_main_one_says_so(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    becomes(monkeypatch, "promoted")
    said = {}
    for branch, main in (("main", ""), ("main", "trunk"), ("trunk", "trunk"), ("master", ""), ("try/this", "")):
        git.run("init", "--quiet")
        git.run("symbolic-ref", "HEAD", f"refs/heads/{branch}")
        if main:
            git.run("symbolic-ref", "refs/remotes/origin/HEAD", f"refs/remotes/origin/{main}")
        done = run("deliver", "--no-canary")
        said[branch] = done.stderr.splitlines()[0].partition(": this is ")[2]
        assert done.exit_code == 0
        shutil.rmtree(".git")

    assert said.pop("try/this") == "delivered from the branch try/this, not from the main one"
    assert set(said.values()) == {""}


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], package.Package]:
    """A function that writes the package of version 3 to a place; what would be in it is stood in for."""

    def fill(folder: Path, *_: Any) -> str:
        folder.mkdir()
        (folder / package.FACTS).write_text("{}")
        return "churn"

    monkeypatch.setattr(package, "_fill", fill)
    monkeypatch.setattr(revisions, "of_result", lambda _: revisions.Revision("HEAD", "c" * 40))
    monkeypatch.setattr(git, "run", lambda *_, **__: "1700000000")
    return lambda place: package.write(VERSION, place)


SOURCES = {"MANIFEST": "setup.py\nsrc/mine.py\n", "registration.json": "{}", "mine.py": "years of work"}


@pytest.mark.parametrize("lacking", ["", *SOURCES])
@pytest.mark.parametrize("name", ["mine", "mine.tar.gz"])
def test_what_is_no_package_is_not_replaced(name: str, lacking: str, tmp_path: Path, written: Any) -> None:
    folder = tmp_path / "sources"
    folder.mkdir()
    for each in SOURCES.keys() - {lacking}:
        (folder / each).write_text(SOURCES[each])
    if name == "mine":
        folder.rename(tmp_path / name)
    else:
        with tarfile.open(tmp_path / name, "w:gz") as archive:
            archive.add(folder, "mine-1.0")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    with pytest.raises(StoreError, match="is there already, and is no package"):
        written(tmp_path / name)

    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_neither_a_file_nor_a_folder_that_only_has_the_name_is_replaced(tmp_path: Path, written: Any) -> None:
    (tmp_path / "a.tar.gz").write_bytes(b"\x1f\x8b not at all")
    (tmp_path / "b.tar.gz").mkdir()
    (tmp_path / "c").write_text("")
    (tmp_path / "d").mkdir()

    for name in ("a.tar.gz", "b.tar.gz", "c", "d"):
        with pytest.raises(StoreError, match="is there already, and is no package"):
            written(tmp_path / name)


@pytest.mark.parametrize("name", ["file/x", "n" * 300])
def test_a_place_that_cannot_be_written_is_one_sentence(name: str, tmp_path: Path, written: Any) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StoreError, match=r"could not be written: (File exists|File name too long)"):
        written(tmp_path / name)


def test_a_package_with_a_file_of_a_person_and_what_a_link_leads_to_stay(tmp_path: Path, written: Any) -> None:
    written(tmp_path / "mine")
    (tmp_path / "mine" / "__pycache__").mkdir()
    (tmp_path / "mine" / "__pycache__" / "a.pyc").touch()
    written(tmp_path / "mine")
    (tmp_path / "mine" / "results").mkdir()
    (tmp_path / "mine" / "results" / "notes.txt").write_text("hello")
    (tmp_path / "link").symlink_to("mine")

    with pytest.raises(StoreError, match=r"mine has results/notes.txt, which is not of the package"):
        written(tmp_path / "mine")
    with pytest.raises(StoreError, match="link is there already"):
        written(tmp_path / "link")

    assert (tmp_path / "mine" / "results" / "notes.txt").read_text() == "hello"


def test_a_package_replaces_its_like_and_an_archive_has_the_same_bytes_by_any_name(
    tmp_path: Path, written: Any
) -> None:
    for name in ("folder", "folder", "one.tar.gz", "one.tar.gz", "other.tar.gz"):
        assert written(tmp_path / name).files == 2

    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "other.tar.gz").read_bytes()
    with package.unpacked(tmp_path / "one.tar.gz") as folder:
        assert folder.name == "churn-3"
        assert (folder / "MANIFEST").read_bytes() == (tmp_path / "folder" / "MANIFEST").read_bytes()


def test_an_archive_has_the_same_bytes_whatever_the_files_on_disk_say_of_themselves(tmp_path: Path) -> None:
    made = []
    for name, mode in (("a", 0o600), ("b", 0o644)):
        folder = tmp_path / name
        (folder / "code").mkdir(parents=True)
        (folder / "code" / "x.py").write_text("print()\n")
        (folder / "code" / "x.py").chmod(mode)
        os.utime(folder / "code" / "x.py", (mode, mode))
        package._pack(folder, "package", tmp_path / f"{name}.tar.gz", 1_700_000_000)
        made.append((tmp_path / f"{name}.tar.gz").read_bytes())

    assert made[0] == made[1]
    with tarfile.open(tmp_path / "a.tar.gz") as archive:
        assert [(each.name, each.mtime) for each in archive] == [
            ("package/code", 1_700_000_000),
            ("package/code/x.py", 1_700_000_000),
        ]


ENGINE = """#!/bin/sh
[ "$2" = --target ] || exit 9
echo "$@ at $SOURCE_DATE_EPOCH" > "$SAID"
[ -z "$FAILS" ] || { echo "no space left"; exit 1; }
while [ "$1" != --iidfile ]; do shift; done
printf sha256:abc > "$2"
"""


def test_an_image_is_built_by_the_engine_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "podman").write_text(ENGINE)
    (tmp_path / "podman").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setenv("SAID", str(tmp_path / "said"))
    monkeypatch.setattr(image, "ENGINES", ("podman",))

    made = image.build(Path("context"), "churn:3", 1_700_000_000, ["--build-arg=BASE=mine"])

    assert made == image.Image("sha256:abc", "churn:3", "podman")
    said = (tmp_path / "said").read_text()
    assert said.startswith("build --target baked --tag churn:3 --iidfile ")
    assert said.endswith("--format docker --timestamp 1700000000 --build-arg=BASE=mine context at 1700000000\n")
    monkeypatch.setenv("FAILS", "yes")
    with pytest.raises(StoreError, match="podman could not build the image: no space left"):
        image.build(Path("context"), "churn:3", 0)
    monkeypatch.setattr(image, "ENGINES", ("no-such-engine",))
    with pytest.raises(StoreError, match="install one of no-such-engine"):
        image.build(Path("context"), "churn:3", 0)
