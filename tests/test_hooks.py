"""The steps after generation: each is done and said, and one that fails costs nothing but itself.

The hook is run for real, by cookiecutter, on real Git and DVC. What is short is the pipeline, which is one stage here;
the real one has a bake of its own.
"""

import functools
import gzip
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import PROJECT, BakedProject, baked, copy_template, generate, hook_module

PIPELINE = """\
stages:
  count:
    cmd: python count.py
    deps: [data/raw, data/incoming, schema.yaml]
    outs: [counts.txt: {cache: false}]
"""
COUNT = """\
import pathlib, sys
print("the pipeline speaks")
counts = {path.name: path.read_bytes().count(b"\\n") for path in sorted(pathlib.Path("data/raw").iterdir())}
pathlib.Path("counts.txt").write_text(f"{counts} {sys.prefix}\\n")
"""
INFER = """\
import pathlib, sys
if sys.argv[1:] == ["data", "hold-back"]:
    sys.exit(0)  # too few rows to keep any back
assert [*sys.argv[1:4], sys.argv[5]] == ["schema", "infer", "--target", "--force"], sys.argv
pathlib.Path("schema.yaml").write_text(f"target: {sys.argv[4]}\\n")
"""
LOANS = "amount,paid\n100,yes\n250,no\n"
STEPS = ["data", "repository", "environment", "data versions", "pipeline", "storage", "first commit"]


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the template whose pipeline is one quick stage, and whose environment is that of the tests."""
    template = copy_template(tmp_path_factory.mktemp("short") / "template")
    project = template / PROJECT
    files = {
        "dvc.yaml": PIPELINE,
        "count.py": COUNT,
        "mlops/__main__.py": INFER,
        "mlops/base/environment.py": "",
        "schema.yaml": "target: churn\n",
    }
    for name, text in files.items():
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text(text)
    return template


@pytest.fixture
def loans(tmp_path: Path) -> Path:
    """One's own data, in a folder of one's own."""
    path = tmp_path / "deliveries" / "Loans 2024.CSV"
    path.parent.mkdir()
    path.write_text(LOANS)
    return path


@pytest.fixture
def served(loans: Path) -> Iterator[str]:
    """The address of a web server for the folder of `loans`."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(loans.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def without(program: str, folder: Path) -> str:
    """A PATH on which everything is but `program`."""
    folder.mkdir()
    for directory in os.environ["PATH"].split(os.pathsep):
        for path in Path(directory).iterdir() if Path(directory).is_dir() else ():
            if path.name != program and not (folder / path.name).exists():
                (folder / path.name).symlink_to(path)
    return str(folder)


def outcomes(printed: str) -> dict[str, str]:
    """What became of each step: done, failed or left."""
    found = re.findall(r"\[\d/\d\] ([a-z ]+?) \.+ +([\d.]+ s|failed|left)", printed, re.MULTILINE)
    return {name: "done" if outcome.endswith(" s") else outcome for name, outcome in found}


def git(project: BakedProject, *arguments: str) -> str:
    """What Git says about the project."""
    return project.run("git", *arguments).stdout.strip()


def test_a_project_is_set_up_to_its_first_commit_by_someone_whom_git_does_not_know(short: Path, tmp_path: Path) -> None:
    author = 'O\'Brien "Ω" $(touch canary) {{ 1 + 1 }}'
    typed = "\n".join(["Churn {{ 1 + 1 }}", "churn", "", author, "", "", "", "", "1", "2", ""])

    project = baked(generate(short, tmp_path, typed=typed), tmp_path / "churn")

    assert outcomes(project.printed) == dict.fromkeys(STEPS, "done"), project.printed
    assert "the pipeline speaks" in project.printed
    assert "left to you" not in project.printed
    assert git(project, "branch", "--show-current") == "main"
    assert git(project, "status", "--porcelain") == ""
    assert git(project, "log", "--format=%an <%ae>") == f"{author} <churn@localhost>"
    assert f"the author is {author} <churn@localhost>" in project.printed
    assert project.read("counts.txt") == f"{{'telco-churn.csv': 6001}} {sys.prefix}\n"
    tracked = set(git(project, "ls-files").split())
    assert {"data/raw.dvc", "data/incoming.dvc", "dvc.lock", "counts.txt", ".dvc/config"} <= tracked
    assert not any(name.endswith(".csv") for name in tracked)
    assert list((tmp_path / "churn-storage").rglob("*.dir"))
    assert not list(tmp_path.rglob("canary"))
    assert "up to date" in project.run("dvc", "status").stdout


def test_own_data_is_found_from_where_the_person_stands_and_takes_the_place_of_the_example(
    short: Path, tmp_path: Path, loans: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    data = loans.relative_to(tmp_path).as_posix()

    generation = generate(short, tmp_path, "--output-dir", str(elsewhere), setup="here", data=data, target="paid")

    project = baked(generation, elsewhere / "customer-churn")
    assert outcomes(project.printed) == dict.fromkeys([*STEPS, "schema", "first delivery"], "done"), project.printed
    assert {name for name in project.files if name.startswith("data/") and not name.endswith((".dvc", "ignore"))} == {
        "data/raw/Loans 2024.csv"
    }
    assert project.read("schema.yaml") == "target: paid\n"
    assert project.read("counts.txt").startswith("{'Loans 2024.csv': 3}")
    assert loans.read_text() == LOANS
    # no delivery to monitor yet is a normal state, which survives a clone
    git(project, "clone", "--quiet", ".", str(tmp_path / "elsewhere" / "clone"))
    clone = BakedProject(tmp_path / "elsewhere" / "clone", "")
    assert clone.run("dvc", "pull").returncode == 0
    assert clone.read("data/raw/Loans 2024.csv") == LOANS
    assert list((clone.path / "data" / "incoming").iterdir()) == []
    assert "up to date" in clone.run("dvc", "status").stdout


def test_data_is_fetched_from_the_web(template: Path, tmp_path: Path, loans: Path, served: str) -> None:
    (loans.parent / "loans.csv.gz").write_bytes(gzip.compress(LOANS.encode()))

    generation = generate(template, tmp_path, setup="no", data=f"{served}/loans.csv.gz?version=3", target="paid")

    project = baked(generation, tmp_path / "customer-churn")
    assert [path.name for path in (project.path / "data" / "raw").iterdir()] == ["loans.csv.gz"]
    assert gzip.decompress((project.path / "data" / "raw" / "loans.csv.gz").read_bytes()).decode() == LOANS


def test_a_web_address_cannot_write_outside_of_the_data(
    template: Path, tmp_path: Path, loans: Path, served: str
) -> None:
    (loans.parent / "x;rm -rf.csv").write_text(LOANS)

    generation = generate(template, tmp_path, setup="no", data=f"{served}/..%2F..%2Fx;rm%20-rf.csv", target="paid")

    project = baked(generation, tmp_path / "customer-churn")
    assert [path.name for path in (project.path / "data").rglob("*.csv")] == ["x-rm--rf.csv"]
    assert not list(tmp_path.glob("*.csv"))


def test_data_that_cannot_be_fetched_leaves_nothing_half_written_and_its_command(
    short: Path, tmp_path: Path, served: str
) -> None:
    generation = generate(short, tmp_path, setup="here", data=f"{served}/missing.csv", target="paid")

    project = baked(generation, tmp_path / "customer-churn")
    by_hand = f"curl --fail --location --output data/raw/missing.csv {served}/missing.csv"
    assert f"By hand: {by_hand}" in project.printed
    assert list((project.path / "data" / "raw").iterdir()) == []
    result = outcomes(project.printed)
    assert (result["data"], result["repository"], result["data versions"]) == ("failed", "done", "left")
    assert result["pipeline"] == result["storage"] == result["first commit"] == "left"
    assert project.printed.index(f"  {by_hand}\n") < project.printed.index(
        "  python -m dvc add data/raw data/incoming\n"
    )


def test_a_project_inside_another_work_tree_is_a_repository_of_its_own_and_it_is_said(
    short: Path, tmp_path: Path
) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)

    # as if called from a Git hook of the outer repository
    generation = generate(short, tmp_path, setup="here", env={"GIT_DIR": str(tmp_path / ".git")})

    project = baked(generation, tmp_path / "customer-churn")
    assert f"a repository inside that of {tmp_path}, which should ignore customer-churn/" in project.printed
    assert git(project, "rev-parse", "--show-toplevel") == str(project.path)
    assert git(project, "rev-list", "--count", "HEAD") == "1"
    assert git(BakedProject(tmp_path, ""), "ls-files") == ""


def test_where_git_is_missing_the_files_are_there_and_the_commands_are_named(short: Path, tmp_path: Path) -> None:
    path = without("git", tmp_path / "path")

    project = baked(generate(short, tmp_path, setup="here", env={"PATH": path}), tmp_path / "customer-churn")

    assert "git is not on the PATH: install it first" in project.printed
    assert outcomes(project.printed)["environment"] == "done"
    assert outcomes(project.printed)["first commit"] == "left"
    assert "  git init --quiet && git symbolic-ref HEAD refs/heads/main\n" in project.printed
    assert "data/raw/telco-churn.csv" in project.files


def test_an_environment_that_cannot_be_made_leaves_the_project_and_all_later_commands(
    short: Path, tmp_path: Path
) -> None:
    (short / PROJECT / "requirements.txt").write_text("dvc\n")  # no hash: refused without a look at any index
    path = without("uv", tmp_path / "path")

    project = baked(generate(short, tmp_path, setup="yes", env={"PATH": path}), tmp_path / "customer-churn")

    assert outcomes(project.printed) == {
        "data": "done",
        "repository": "done",
        "environment": "failed",
        **dict.fromkeys(["data versions", "pipeline", "storage", "first commit"], "left"),
    }
    assert "require" in project.printed
    by_hand = re.search(r"By hand: (.*)\n", project.printed)
    assert by_hand is not None
    assert "-m venv .venv && " in by_hand[1]
    assert by_hand[1].endswith("--require-hashes --requirement requirements.txt")
    left = re.findall(r"^  (\S.*)$", project.printed.split("in this order:")[1].split("Then:")[0], re.MULTILINE)
    assert left == [
        f"cd {project.path}",
        by_hand[1],
        f"source {project.path}/.venv/bin/activate",
        "python -m dvc add data/raw data/incoming",
        "python -m dvc repro",
        "python -m dvc push",
        "git add --all && git commit --message 'Start from cookiecutter-dvc-mlops'",
    ]


def test_an_environment_that_is_not_that_of_the_lock_is_named_and_nothing_is_run_in_it(
    short: Path, tmp_path: Path
) -> None:
    (short / PROJECT / "mlops" / "base" / "environment.py").write_text("raise SystemExit('pandas is 1.0, not 3.1.1')\n")

    project = baked(generate(short, tmp_path, setup="here"), tmp_path / "customer-churn")

    assert "pandas is 1.0, not 3.1.1" in project.printed
    assert outcomes(project.printed)["environment"] == "failed"
    assert "data/raw.dvc" not in project.files


def test_a_pipeline_that_stops_is_heard_and_the_commit_is_made_all_the_same(short: Path, tmp_path: Path) -> None:
    (short / PROJECT / "count.py").write_text("raise SystemExit('the target has one class: decide')\n")

    project = baked(generate(short, tmp_path, setup="here"), tmp_path / "customer-churn")

    assert "the target has one class: decide" in project.printed
    assert outcomes(project.printed)["pipeline"] == "failed"
    assert "By hand: python -m dvc repro" in project.printed
    assert outcomes(project.printed)["first commit"] == "done"
    assert git(project, "rev-list", "--count", "HEAD") == "1"


def test_the_commands_of_a_project_of_files_only_set_it_up_as_they_are_printed(
    short: Path, tmp_path: Path, loans: Path
) -> None:
    project = baked(generate(short, tmp_path, setup="no", data=str(loans), target="paid"), tmp_path / "customer-churn")
    assert ".git/HEAD" not in project.files
    block = project.printed.split("in this order:")[1].split("Then:")[0]
    lines = [line.strip() for line in block.splitlines() if line.strip()]
    assert lines[2].endswith("--requirement requirements.txt")
    assert lines[3].startswith("source ")
    del lines[2:4]  # the environment is that of the tests
    lines[-1] = lines[-1].replace("git commit", "git -c user.name=Ada -c user.email=ada@localhost commit")

    done = project.run(shutil.which("bash") or "sh", "-euc", "\n".join(lines))

    assert done.returncode == 0, done.stdout + done.stderr
    assert git(project, "status", "--porcelain") == ""
    assert project.read("schema.yaml") == "target: paid\n"
    assert project.read("counts.txt").startswith("{'Loans 2024.csv': 3}")


def test_data_in_s3_waits_for_the_environment_that_can_fetch_it(template: Path, tmp_path: Path) -> None:
    generation = generate(template, tmp_path, setup="no", data="s3://bucket/loans.parquet", target="paid")

    project = baked(generation, tmp_path / "customer-churn")
    fetch = "  python -m dvc get-url s3://bucket/loans.parquet data/raw/loans.parquet\n"
    assert project.printed.index("activate\n") < project.printed.index(fetch) < project.printed.index("dvc add")


def test_the_hooks_agree_with_the_project_on_what_it_takes(bake: Callable[..., BakedProject]) -> None:
    before, after = hook_module("pre_gen_project"), hook_module("post_gen_project")
    (lowest, highest) = after.SUPPORTED

    requires = tomllib.loads(bake().read("pyproject.toml"))["project"]["requires-python"]

    assert requires == f">={lowest[0]}.{lowest[1]},<{highest[0]}.{highest[1] + 1}"
    assert before.DATA_SUFFIXES == after.DATA_SUFFIXES


def test_an_interruption_leaves_the_rest_to_the_person(capsys: pytest.CaptureFixture[str]) -> None:
    hook = hook_module("post_gen_project")

    def interrupted() -> str:
        raise KeyboardInterrupt

    steps = [
        hook.Step("one", lambda: "", "do one"),
        hook.Step("two", interrupted, "do two"),
        hook.Step("three", str, ""),
    ]

    assert hook.run_steps(steps, lambda step: True) == {"one"}
    assert "[2/3] two .................. interrupted" in capsys.readouterr().out
