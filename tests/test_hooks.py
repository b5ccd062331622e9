"""The steps after generation: each is run and reported, and a step that fails stops only the steps that need it.

Two projects are set up for real by cookiecutter, Git and DVC: one by the hook, and one by hand with the commands that
the hook prints. Their pipeline is one short stage. For all else the hook runs alone, in a folder with a few files.
"""

import errno
import functools
import gzip
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import PROJECT, TEMPLATE, BakedProject, baked, copy_template, generate, hook_module, storage_of
from tests.projects import commit

PIPELINE = """\
stages:
  count:
    cmd: python count.py
    deps: [data/raw, data/incoming, schema.yaml]
    outs: [reports/counts.txt: {cache: false}]
"""
COUNT = """\
import pathlib, sys
print("the pipeline speaks")
counts = {path.name: path.read_bytes().count(b"\\n") for path in sorted(pathlib.Path("data/raw").iterdir())}
pathlib.Path("reports").mkdir(exist_ok=True)
pathlib.Path("reports/counts.txt").write_text(f"{counts} {sys.prefix}\\n")
"""
INFER = """\
import pathlib, sys
if sys.argv[1:] == ["data", "hold-back"]:
    sys.exit(0)  # too few rows to keep any back
assert [*sys.argv[1:4], sys.argv[5]] == ["schema", "infer", "--target", "--force"], sys.argv
pathlib.Path("schema.yaml").write_text(f"target: {sys.argv[4]}\\n")
"""
WRITES = """\
import pathlib
pathlib.Path("dvc.lock").touch()
pathlib.Path("reports").mkdir(exist_ok=True)
pathlib.Path("reports/metrics.json").touch()
pathlib.Path("meanwhile.txt").touch()  # by the person
"""
LOANS = "amount,paid\n100,yes\n250,no\n"
AUTHOR = 'O\'Brien "Ω" $(touch canary) {{ 1 + 1 }}'
EXAMPLE = ("data/raw/telco-churn.csv", "data/incoming/telco-churn-next.csv")
STEPS = ["data", "repository", "environment", "data versions", "pipeline", "storage", "first commit"]


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the template with a pipeline of one short stage, and with the environment of the tests."""
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
def folder(tmp_path: Path) -> Path:
    """A project as the hook finds it, with only the files that the hook itself uses."""
    path = tmp_path / "customer-churn"
    files = {
        "data/raw/telco-churn.csv": "customer_id,churn\n1,No\n",
        "data/incoming/telco-churn-next.csv": "customer_id,churn\n2,Yes\n",
        "mlops/base/environment.py": "",  # the environment of the tests is accepted
        "dvc.py": "",  # `python -m dvc` finds it first and does nothing, where DVC takes over a second
        "requirements.txt": "dvc\n",  # without a hash, an install is refused before any index is asked
    }
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return path


@pytest.fixture
def loans(tmp_path: Path) -> Path:
    """Own data, in a folder beside the project."""
    path = tmp_path / "deliveries" / "Loans 2024.CSV"
    path.parent.mkdir()
    path.write_text(LOANS)
    return path


@pytest.fixture
def served(loans: Path) -> Iterator[str]:
    """The address of a web server for the folder of `loans`."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(loans.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def run_hook(folder: Path, env: dict[str, str] | None = None, **answers: str) -> BakedProject:
    """Run the hook in `folder` as cookiecutter does: rendered into another folder, as a process of its own."""
    defaults = {
        "author": "Ada",
        "ci": "github",
        "data": "example",
        "setup": "here",
        "target": "churn",
        "_output_dir": str(folder.parent),
        "_template": str(TEMPLATE),
    }
    text = (TEMPLATE / "hooks" / "post_gen_project.py").read_text(encoding="utf-8")
    hook = folder.with_name("hook.py")
    hook.write_text(text.replace("{{ cookiecutter | tojson }}", json.dumps(defaults | answers)), encoding="utf-8")
    project = BakedProject(folder, "", {"PWD": str(folder.parent), **(env or {})})
    done = project.run(sys.executable, str(hook))
    assert done.returncode == 0, done.stdout + done.stderr
    return replace(project, printed=done.stdout + done.stderr)


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


@pytest.fixture(scope="module")
def set_up(short: Path, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """A project from own data, in another folder than the person's, set up in answer to typed prompts."""
    stands = tmp_path_factory.mktemp("set-up")
    (stands / "deliveries").mkdir()
    (stands / "deliveries" / "Loans 2024.CSV").write_text(LOANS)
    title, data = "Churn {{ 1 + 1 }}", "deliveries/Loans 2024.CSV"
    typed = "\n".join([data, "paid", title, "churn", "", AUTHOR, "", "", "1", "2", ""])
    generation = generate(short, stands, "--output-dir", str(stands / "elsewhere"), typed=typed)
    return baked(generation, stands / "elsewhere" / "churn")


def test_a_project_is_set_up_to_its_first_commit_by_someone_whom_git_does_not_know(set_up: BakedProject) -> None:
    assert outcomes(set_up.printed) == dict.fromkeys([*STEPS, "schema", "first delivery"], "done"), set_up.printed
    assert "the pipeline speaks" in set_up.printed
    assert "left to you" not in set_up.printed
    assert git(set_up, "branch", "--show-current") == "main"
    assert git(set_up, "status", "--porcelain") == ""
    assert git(set_up, "log", "--format=%an <%ae>") == f"{AUTHOR} <churn@localhost>"
    assert f"the author is {AUTHOR} <churn@localhost>" in set_up.printed
    assert set_up.read("reports/counts.txt") == f"{{'Loans 2024.csv': 3}} {sys.prefix}\n"
    tracked = set(git(set_up, "ls-files").split())
    assert {"data/raw.dvc", "data/incoming.dvc", "dvc.lock", "reports/counts.txt", ".dvc/config"} <= tracked
    assert not any(name.endswith(".csv") for name in tracked)
    assert list(storage_of(set_up.path).rglob("*.dir"))
    assert not list(set_up.path.parents[1].rglob("canary"))


def test_own_data_is_found_from_where_the_person_stands_and_takes_the_place_of_the_example(
    set_up: BakedProject,
) -> None:
    data = {name for name in set_up.files if name.startswith("data/") and not name.endswith((".dvc", "ignore"))}

    assert data == {"data/raw/Loans 2024.csv", "data/events/README.md"}
    assert set_up.read("schema.yaml") == "target: paid\n"
    assert (set_up.path.parents[1] / "deliveries" / "Loans 2024.CSV").read_text() == LOANS


def test_a_clone_gets_the_data_and_an_empty_folder_of_deliveries(set_up: BakedProject) -> None:
    clone = BakedProject(set_up.path.with_name("clone"), "")
    git(set_up, "clone", "--quiet", ".", str(clone.path))

    pulled = clone.run("dvc", "pull")

    assert pulled.returncode == 0, pulled.stderr
    assert clone.read("data/raw/Loans 2024.csv") == LOANS
    assert list((clone.path / "data" / "incoming").iterdir()) == []
    assert "docs/features.md" in clone.read("data/events/README.md")
    status = clone.run("dvc", "status")
    assert "up to date" in status.stdout
    assert "'data/events' is empty" not in status.stdout + status.stderr


def test_data_is_fetched_from_the_web(folder: Path, loans: Path, served: str) -> None:
    (loans.parent / "loans.csv.gz").write_bytes(gzip.compress(LOANS.encode()))

    project = run_hook(folder, setup="no", data=f"{served}/loans.csv.gz?version=3", target="paid")

    assert [path.name for path in (folder / "data" / "raw").iterdir()] == ["loans.csv.gz"], project.printed
    assert gzip.decompress((folder / "data" / "raw" / "loans.csv.gz").read_bytes()).decode() == LOANS


def test_a_download_of_the_hook_has_a_limit(folder: Path, served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = hook_module("post_gen_project")
    monkeypatch.setattr(hook, "MOST_BYTES", len(LOANS) - 1)
    goal = folder / "data" / "raw" / "loans.csv"
    monkeypatch.chdir(folder)

    with pytest.raises(hook.StepError, match="has more than"):
        hook.download(f"{served}/Loans%202024.CSV", goal)

    assert not list(goal.parent.iterdir())


def test_a_web_address_cannot_write_outside_of_the_data(folder: Path, loans: Path, served: str) -> None:
    (loans.parent / "x;rm -rf.csv").write_text(LOANS)

    run_hook(folder, setup="no", data=f"{served}/..%2F..%2Fx;rm%20-rf.csv", target="paid")

    assert [path.name for path in (folder / "data").rglob("*.csv")] == ["x-rm--rf.csv"]
    assert not list(folder.parent.glob("*.csv"))


def test_data_that_cannot_be_fetched_leaves_nothing_half_written_and_its_command(folder: Path, served: str) -> None:
    project = run_hook(folder, data=f"{served}/missing.csv", target="paid")

    by_hand = f"curl --fail --location --output data/raw/missing.csv {served}/missing.csv"
    assert f"By hand: {by_hand}" in project.printed
    assert list((folder / "data" / "raw").iterdir()) == []
    result = outcomes(project.printed)
    assert (result["data"], result["repository"], result["data versions"]) == ("failed", "done", "left")
    assert result["pipeline"] == result["storage"] == result["first commit"] == "left"
    assert project.printed.index(f"  {by_hand}\n") < project.printed.index(
        "  python -m dvc add data/raw data/incoming data/events\n"
    )


def test_a_project_inside_another_work_tree_is_a_repository_of_its_own_and_this_is_printed(
    folder: Path, tmp_path: Path
) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)

    # as if called from a Git hook of the outer repository
    project = run_hook(folder, env={"GIT_DIR": str(tmp_path / ".git")})

    inner, outer = BakedProject(folder, ""), BakedProject(tmp_path, "")
    assert f"a repository inside that of {tmp_path}, which should ignore customer-churn/" in project.printed
    assert git(inner, "rev-parse", "--show-toplevel") == str(folder)
    assert git(inner, "rev-list", "--count", "HEAD") == "1"
    assert git(outer, "ls-files") == ""


def test_where_git_is_missing_the_files_are_there_and_the_commands_are_named(folder: Path, tmp_path: Path) -> None:
    project = run_hook(folder, env={"PATH": without("git", tmp_path / "path")})

    assert "git is not on the PATH: install it first" in project.printed
    assert outcomes(project.printed)["environment"] == "done"
    assert outcomes(project.printed)["first commit"] == "left"
    assert "  git init --quiet && git symbolic-ref HEAD refs/heads/main\n" in project.printed
    assert "data/raw/telco-churn.csv" in project.files


@pytest.mark.parametrize("tool", ["uv", "venv and pip"])
def test_an_environment_that_cannot_be_made_leaves_the_project_and_all_later_commands(
    folder: Path, tmp_path: Path, tool: str
) -> None:
    env = {} if tool == "uv" else {"PATH": without("uv", tmp_path / "path")}

    project = run_hook(folder, env=env, setup="yes")

    assert outcomes(project.printed) == {
        "data": "done",
        "repository": "done",
        "environment": "failed",
        **dict.fromkeys(["data versions", "pipeline", "storage", "first commit"], "left"),
    }
    assert "require" in project.printed
    by_hand = re.search(r"By hand: (.*)\n", project.printed)
    assert by_hand is not None
    assert ("uv venv --quiet" if tool == "uv" else "-m venv .venv && ") in by_hand[1]
    assert by_hand[1].endswith("--require-hashes --requirement requirements.txt")
    left = re.findall(r"^  (\S.*)$", project.printed.split("in this order:")[1].split("Then:")[0], re.MULTILINE)
    assert left == [
        f"cd {project.path}",
        by_hand[1],
        f"source {project.path}/.venv/bin/activate",
        "python -m dvc add data/raw data/incoming data/events",
        "python -m dvc repro",
        "python -m dvc push",
        "git add --all && git commit --message 'Start from cookiecutter-dvc-mlops'",
    ]


def test_an_environment_that_is_not_that_of_the_lock_is_named_and_nothing_is_run_in_it(folder: Path) -> None:
    (folder / "mlops" / "base" / "environment.py").write_text("raise SystemExit('pandas is 1.0, not 3.1.1')\n")

    project = run_hook(folder)

    assert "pandas is 1.0, not 3.1.1" in project.printed
    assert outcomes(project.printed)["environment"] == "failed"
    assert "data/raw.dvc" not in project.files


def test_a_pipeline_that_stops_is_heard_and_the_commit_is_made_all_the_same(folder: Path) -> None:
    stops = "import sys\nif sys.argv[1] == 'repro':\n    sys.exit('the target has one class: decide')\n"
    (folder / "dvc.py").write_text(stops)

    project = run_hook(folder)

    assert "the target has one class: decide" in project.printed
    assert outcomes(project.printed)["pipeline"] == "failed"
    assert "By hand: python -m dvc repro" in project.printed
    assert outcomes(project.printed)["first commit"] == "done"
    assert git(project, "rev-list", "--count", "HEAD") == "1"


def test_a_target_that_is_mistyped_leaves_the_schema_and_the_commit_to_the_person(folder: Path, loans: Path) -> None:
    (folder / "mlops" / "__main__.py").write_text("import sys\nsys.exit('the target pay is no column, but paid is')\n")
    (folder / "schema.yaml").write_text("that of the example\n")

    project = run_hook(folder, data=str(loans), target="pay")

    steps = outcomes(project.printed)
    assert "the target pay is no column, but paid is" in project.printed
    assert [name for name, outcome in steps.items() if outcome != "done"] == [
        *("schema", "first delivery", "pipeline", "storage", "first commit")
    ]
    assert git(project, "rev-list", "--all") == ""
    left = project.printed.split("in this order:")[1].split("Then:")[0]
    assert "schema infer --target COLUMN --force\n" in left
    assert left.strip().splitlines()[-1].strip().startswith("git add --all && git commit")


def test_the_last_lines_say_why_no_version_was_registered(folder: Path) -> None:
    rule = {"rule": "minimum", "measured": "test accuracy", "comparison": "≥", "limit": 0.75, "note": None}
    rules = [{**rule, "actual": 0.5, "passed": False}, {**rule, "rule": "other", "actual": 0.8, "passed": True}]
    (folder / "reports").mkdir()
    (folder / "reports" / "registration.json").write_text(json.dumps({"rules": rules}))

    last = run_hook(folder).printed.split("No version of the model was registered, for the gate failed:\n")[1]

    assert last.splitlines()[0] == "  minimum: test accuracy is 0.5000, expected ≥ 0.75"
    assert "dvc repro" in last
    assert "other" not in last


def test_the_commands_of_a_project_of_files_only_set_it_up_as_they_are_printed(
    short: Path, tmp_path: Path, loans: Path
) -> None:
    project = baked(generate(short, tmp_path, setup="no", data=str(loans), target="paid"), tmp_path / "loans-2024")
    assert ".git/HEAD" not in project.files
    block = project.printed.split("in this order:")[1].split("Then:")[0]
    lines = [line.strip() for line in block.strip("\n").splitlines()]
    assert lines[2].endswith("--requirement requirements.txt")
    assert lines[3].startswith("source ")
    assert lines[4:-1] == [
        "python -m mlops schema infer --target paid --force",
        "python -m mlops data hold-back",
        "python -m dvc add data/raw data/incoming data/events",
        "python -m dvc repro",
        "python -m dvc push",
    ]
    del lines[2:4]  # the environment is that of the tests
    lines[-1] = lines[-1].replace("git commit", "git -c user.name=Ada -c user.email=ada@localhost commit")

    done = project.run(shutil.which("bash") or "sh", "-euc", "\n".join(lines))

    assert done.returncode == 0, done.stdout + done.stderr
    assert git(project, "status", "--porcelain") == ""
    assert project.read("schema.yaml") == "target: paid\n"
    assert project.read("reports/counts.txt").startswith("{'Loans 2024.csv': 3}")


def test_data_in_s3_waits_for_the_environment_that_can_fetch_it(folder: Path) -> None:
    printed = run_hook(folder, setup="no", data="s3://bucket/loans.parquet", target="paid").printed

    fetch = "  python -m dvc get-url s3://bucket/loans.parquet data/raw/loans.parquet\n"
    assert printed.index("activate\n") < printed.index(fetch) < printed.index("dvc add")


def test_the_hooks_agree_with_the_project_on_what_it_takes() -> None:
    before, after = hook_module("pre_gen_project"), hook_module("post_gen_project")
    (lowest, highest) = after.SUPPORTED
    requires = f'requires-python = ">={lowest[0]}.{lowest[1]},<{highest[0]}.{highest[1] + 1}"'

    assert requires in (TEMPLATE / PROJECT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    assert before.DATA_SUFFIXES == after.DATA_SUFFIXES
    assert before.FIRST_COMMIT == after.FIRST_COMMIT
    assert before.RESULT == after.RESULT
    assert before.MANIFEST == after.MANIFEST
    example = {path.relative_to(TEMPLATE / PROJECT) for path in (TEMPLATE / PROJECT / "data").glob("*/*.csv")}
    assert example == set(after.EXAMPLE)


def test_what_lies_in_a_repository_or_is_staged_is_not_taken_along(folder: Path) -> None:
    person = BakedProject(folder, "")
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@localhost")
    git(person, "init", "--quiet")
    for name, text in {"notes.txt": "old", "staged.txt": "old", "models/own.pkl": "", "docs/draft.md": ""}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    git(person, "add", "notes.txt", "staged.txt")
    git(person, *identity, "commit", "--quiet", "-m", "Mine")
    (folder / "notes.txt").write_text("new")
    (folder / "staged.txt").write_text("new")
    git(person, "add", "staged.txt")
    (folder / "dvc.py").write_text(WRITES)

    project = run_hook(folder, _repo_dir=str(TEMPLATE))

    assert outcomes(project.printed)["first commit"] == "done", project.printed
    committed = set(git(project, "show", "--name-only", "--format=", "HEAD").split())
    assert {"dvc.lock", "reports/metrics.json", "requirements.txt"} <= committed
    assert not committed & {"notes.txt", "staged.txt", "models/own.pkl", "docs/draft.md", "dvc.py", "meanwhile.txt"}
    assert git(project, "diff", "--cached", "--name-only") == "staged.txt"
    assert git(project, "diff", "--name-only") == "notes.txt"


@pytest.mark.parametrize(("rule", "hidden"), [("metrics.json", "reports/metrics.json"), ("requirements.txt", "")])
def test_what_a_rule_of_the_person_hides_from_git_is_named_with_the_rule(
    folder: Path, tmp_path: Path, rule: str, hidden: str
) -> None:
    (tmp_path / "ignore").write_text(f"# mine\n{rule}\n")
    (tmp_path / "config").write_text(f"[core]\n\texcludesFile = {tmp_path / 'ignore'}\n")
    (folder / "dvc.py").write_text(WRITES)

    project = run_hook(folder, env={"GIT_CONFIG_GLOBAL": str(tmp_path / "config")}, _repo_dir=str(TEMPLATE))

    step = "first commit" if hidden else "repository"
    assert outcomes(project.printed)[step] == "failed"
    said = f"Git ignores {hidden or rule} by the rule {tmp_path / 'ignore'}:2:{rule}: take the rule out there"
    assert said in project.printed
    assert "is ready, except for the steps that are left to you" in project.printed


@pytest.mark.parametrize("rule", ["data/", "data/*", "reports/", "models/", "*.csv", "*.json", "*.lock", "*.dvc"])
def test_usual_rules_of_a_person_hide_no_result(rule: str, tmp_path: Path) -> None:
    project = BakedProject(tmp_path / "project", "", {"GIT_CONFIG_GLOBAL": str(tmp_path / "config")})
    project.path.mkdir()
    shutil.copy(TEMPLATE / PROJECT / ".gitignore", project.path)
    (tmp_path / "ignore").write_text(f"{rule}\n")
    (tmp_path / "config").write_text(f"[core]\n\texcludesFile = {tmp_path / 'ignore'}\n")
    git(project, "init", "--quiet")
    names = (
        "data/raw.dvc",
        "data/.gitignore",
        "dvc.lock",
        "models/.gitignore",
        "reports/metrics.json",
        "reports/a/b.csv",
        "mlops/data/x.py",
    )

    assert git(project, "check-ignore", *names) == ""
    assert git(project, "check-ignore", "data/raw-1/x.csv", "data/.x.part/y") == "data/raw-1/x.csv\ndata/.x.part/y"


class Generation:
    """A generation in this process, setup=no: the hooks, and in between files of a template that is small and real."""

    def __init__(self, folder: Path, template: Path) -> None:
        self.folder, self.template = folder, template
        self.before, self.after = hook_module("pre_gen_project"), hook_module("post_gen_project")

    def answers(self, **answers: str) -> dict[str, str]:
        """All answers."""
        names = ("project_name", "project", "author", "target")
        places = {"_template": str(self.template), "_repo_dir": str(self.template)}
        rest = {"description": "", "dvc_remote": "", "mlflow_tracking_uri": "", "ci": "github", "data": "example"}
        rest |= {"setup": "no", "_output_dir": str(self.folder.parent)}
        return {**dict.fromkeys(names, "churn"), **rest, **places, **answers}

    def starts(self, **answers: str) -> bool:
        """Run it until the last hook; whether it was not refused."""
        if self.before.main(self.answers(**answers)):
            return False
        shutil.copytree(self.template / PROJECT, self.folder, dirs_exist_ok=True)
        return True

    def __call__(self, **answers: str) -> bool:
        """Run it; whether it was not refused."""
        if self.starts(**answers):
            self.after.main(self.answers(**answers))
            return True
        return False


@pytest.fixture
def generation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generation:
    """A generation into a person's folder."""
    folder, template = tmp_path / "churn", tmp_path / "template"
    for name in ("README.md", ".gitignore", "dvc.yaml", "schema.yaml", ".github/workflows/ci.yml", *EXAMPLE):
        (template / PROJECT / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TEMPLATE / PROJECT / name, template / PROJECT / name)
    for name in ("mlops/__init__.py", "docs/data.md", "Dockerfile"):
        (template / PROJECT / name).parent.mkdir(parents=True, exist_ok=True)
        (template / PROJECT / name).write_text("the project's\n")
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("PATH", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # the hook changes them
    monkeypatch.setenv("PWD", str(tmp_path))
    return Generation(folder, template)


def repository(folder: Path, files: dict[str, str]) -> BakedProject:
    """A person's repository on its branch `master`, with these files in it as far as its .gitignore lets them."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    mine = BakedProject(folder, "")
    git(mine, "init", "--quiet", "--initial-branch", "master")
    commit(mine, "Years of work")
    return mine


def test_results_and_a_pipeline_of_the_person_are_kept_and_named(
    generation: Generation, capsys: pytest.CaptureFixture[str]
) -> None:
    ignored = {
        "models/model.joblib": "42 hours",
        "data/prepared/train.parquet": "rows",
        "reports/plots/mine.png": "png",
    }
    tracked = {"dvc.yaml": "stages: {}", "dvc.lock": "{}", "reports/metrics.json": "{}", "before/mine.txt": "old"}
    others = {".gitignore": "/models\ndata/\nplots\n", "reports/slides.md": "mine", "reports/.gitignore": "*.tmp\n"}
    mine = repository(generation.folder, ignored | tracked | others)

    assert generation()

    printed = capsys.readouterr().out
    moved = {**ignored, **tracked, ".gitignore": others[".gitignore"]}
    del moved["before/mine.txt"]
    assert {name: mine.read(f"before-2/{name}") for name in moved} == moved
    assert {name: mine.read(name) for name in ("reports/slides.md", "reports/.gitignore", "before/mine.txt")} == {
        "reports/slides.md": "mine",
        "reports/.gitignore": "*.tmp\n",
        "before/mine.txt": "old",
    }
    named = "data/prepared/train.parquet, dvc.lock, dvc.yaml, models/model.joblib, reports/metrics.json, reports/plots."
    assert f"are in before-2/ now: .gitignore, {named}" in printed
    assert "before the next `git add` the rules of .gitattributes. Name your data files\nin .gitignore" in printed
    assert not (generation.folder / "models" / "model.joblib").exists()
    assert git(mine, "ls-files", "dvc.lock", "reports") == "reports/.gitignore\nreports/slides.md"  # free for DVC
    assert "This branch is master" in printed
    assert "git init" not in printed


def test_rules_of_the_person_that_hide_the_project_from_git_are_moved(
    generation: Generation, capsys: pytest.CaptureFixture[str]
) -> None:
    keep_folder = "*\n!.gitignore\n"
    rules = {"data/.gitignore": keep_folder, "docs/.gitignore": keep_folder, "reports/.gitignore": "*.json\n"}
    harmless = {"models/.gitignore": keep_folder, "mlops/.gitignore": "*.log\n", "notes/.gitignore": "*\n"}
    mine = repository(generation.folder, {".gitignore": "data/\n"} | rules | harmless)

    assert generation()

    assert {name: mine.read(f"before/{name}") for name in rules} == rules
    assert {name: mine.read(name) for name in harmless} == harmless
    assert f"are in before/ now: .gitignore, {', '.join(rules)}." in capsys.readouterr().out
    assert git(mine, "check-ignore", "docs/data.md", "data/raw.dvc", "reports/metrics.json") == ""


def test_the_commit_by_hand_takes_what_the_project_owns_and_nothing_else(
    generation: Generation, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"README.md": "mine", ".gitignore": "data/\n", "data/customers.csv": LOANS, "notes [1].txt": "old"}
    files |= {".gitlab-ci.yml": "mine", "docs/own/a.md": "", "src/a.py": "", ".env": "", "data/raw/old.csv": "a\n"}
    files |= {"mlops/own.py": ""}
    mine = repository(generation.folder, files)
    git(mine, "add", "--force", "data/raw/old.csv")
    commit(mine, "Data of which nobody thought")
    (generation.template / PROJECT / ".gitlab-ci.yml").write_text("the project's")
    for name in ("notes [1].txt", "src/a.py", "docs/own/a.md"):
        (generation.folder / name).write_text("a day of work")
    git(mine, "add", "src/a.py")

    assert generation(data="churn/data/customers.csv")
    for name in (
        "dvc.lock",
        "reports/metrics.json",
        "data/raw.dvc",
        ".cruft.json",
    ):  # what the commands before it write
        (generation.folder / name).parent.mkdir(exist_ok=True)
        (generation.folder / name).write_text("{}")
    (generation.folder / "data" / ".gitignore").write_text("/raw\n/incoming\n/events\n")
    by_hand = re.search(r"^  (git add .*)$", capsys.readouterr().out, re.MULTILINE)
    assert by_hand is not None
    identity = {f"GIT_{who}_{what}": "ada@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = mine.with_env(**identity).run("bash", "-ec", by_hand[1])

    assert done.returncode == 0, done.stdout + done.stderr
    project = {path.relative_to(generation.template / PROJECT) for path in (generation.template / PROJECT).rglob("*.*")}
    own = {path.as_posix() for path in project if path.suffix not in (".csv", "")} | {"Dockerfile", ".gitignore"}
    written = {"dvc.lock", "reports/metrics.json", "data/raw.dvc", ".cruft.json", "data/.gitignore", "mlops/MANIFEST"}
    committed = set(git(mine, "show", "--name-only", "--format=", "HEAD").splitlines())
    assert committed == (own | written) - {".gitlab-ci.yml"}
    assert [line.split()[1] for line in mine.read("mlops/MANIFEST").splitlines()] == ["__init__.py"]
    assert mine.run("git", "status", "--porcelain", "-z").stdout.split("\0")[:-1] == [
        " D .gitlab-ci.yml",
        "D  data/raw/old.csv",
        " M docs/own/a.md",
        " M notes [1].txt",
        "M  src/a.py",
        "?? before/",
        "?? data/customers.csv",
    ]


@pytest.mark.parametrize("name", ["customers.csv", "telco-churn.csv"])
def test_data_that_lies_where_the_project_keeps_its_own_is_taken_from_where_it_went(
    generation: Generation, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    mine = repository(generation.folder, {f"data/raw/{name}": LOANS, "data/raw/photos/1.png": "png"})

    assert generation(data=f"churn/data/raw/{name}", target="paid")

    files = mine.files
    assert {path for path in files if path.startswith("data/")} == {
        *(f"data/raw/{name}", f"data/raw-before/{name}", "data/raw-before/photos/1.png", "data/events/README.md")
    }
    assert mine.read(f"data/raw/{name}") == mine.read(f"data/raw-before/{name}") == LOANS
    moved = ", ".join(sorted([f"data/raw-before/{name}", "data/raw-before/photos"]))
    assert f"was moved to {moved}." in capsys.readouterr().out


def test_a_killed_generation_goes_on_and_keeps_what_was_edited_since(
    generation: Generation, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = repository(generation.folder, {"README.md": "mine", "data/raw/customers.csv": LOANS})
    answers = {"data": "churn/data/raw/customers.csv", "target": "paid"}
    assert generation.starts(**answers)
    generation.after.write_manifest(generation.answers())
    generation.after.copy(Path("data/raw-before/customers.csv"), Path("data/raw/customers.csv"))
    for name, text in {"dvc.lock": "{", "models/model.joblib": "ours", "Dockerfile": "edited"}.items():
        (generation.folder / name).parent.mkdir(exist_ok=True)
        (generation.folder / name).write_text(text)

    assert generation(**answers)

    assert mine.read("before/README.md") == "mine"
    assert mine.read("data/raw-before/customers.csv") == mine.read("data/raw/customers.csv") == LOANS
    assert (mine.read("before-2/Dockerfile"), mine.read("models/model.joblib")) == ("edited", "ours")
    assert {name for name in mine.files if name.startswith("before-2/")} == {"before-2/Dockerfile"}
    assert not (generation.folder / "dvc.lock").exists()  # half-written
    printed = capsys.readouterr().out
    assert "are in before/ now: README.md." in printed
    assert "are in before-2/ now: Dockerfile." in printed


def test_files_of_a_generation_that_was_killed_early_are_not_taken_for_a_person_s(generation: Generation) -> None:
    (generation.template / PROJECT / ".gitlab-ci.yml").write_text("the project's")
    assert generation.starts()  # and is killed

    assert generation()

    files = BakedProject(generation.folder, "").files
    assert not [name for name in files if "before" in name or name == ".gitlab-ci.yml"]


def test_the_mark_of_a_generation_that_was_taken_back_does_not_count(generation: Generation) -> None:
    mine = repository(generation.folder, {"README.md": "mine"})
    assert generation.starts()
    generation.after.write_manifest(generation.answers())  # and is killed
    git(mine, "reset", "--quiet", "--hard")
    git(mine, "clean", "-fdx")
    for name in ("README.md", "dvc.lock", "models/model.joblib"):
        (generation.folder / name).parent.mkdir(exist_ok=True)
        (generation.folder / name).write_text("a day of work")

    assert generation()

    assert {mine.read(f"before/{name}") for name in ("README.md", "dvc.lock", "models/model.joblib")} == {
        "a day of work"
    }


def test_a_second_generation_of_files_only_moves_what_was_edited(generation: Generation) -> None:
    mine = BakedProject(generation.folder, "")
    assert generation()
    files = mine.files
    (generation.folder / "README.md").write_text("edited")
    (generation.folder / "data" / "raw" / "telco-churn.csv").write_text(LOANS)

    assert generation()

    assert mine.files == {*files, "before/README.md", "data/raw-before/telco-churn.csv"}
    assert (mine.read("before/README.md"), mine.read("data/raw-before/telco-churn.csv")) == ("edited", LOANS)
    assert mine.read("README.md") != "edited"


def refused(generation: Generation, capsys: pytest.CaptureFixture[str], **answers: str) -> str:
    """The sentence of a generation that is refused, and that touches nothing."""
    paths = generation.folder.rglob("*")
    state = {path: (path.lstat().st_ino, path.lstat().st_mtime) for path in paths if ".git" not in path.parts}
    assert not generation(**answers)
    paths = generation.folder.rglob("*")
    assert {path: (path.lstat().st_ino, path.lstat().st_mtime) for path in paths if ".git" not in path.parts} == state
    assert not generation.folder.with_name("churn.unfinished").exists()
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2, said
    return said[1]


def test_edits_since_the_first_commit_are_not_overwritten(
    generation: Generation, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = BakedProject(generation.folder, "")
    assert generation()
    git(mine, "init", "--quiet")
    (generation.folder / "notes.txt").write_text("")
    commit(mine, "Start from cookiecutter-dvc-mlops")
    (generation.folder / "README.md").write_text("edited")
    (generation.folder / "dvc.yaml").write_text("edited")
    git(mine, "add", "dvc.yaml")

    said = refused(generation, capsys)

    assert "has changes that are not committed in README.md, dvc.yaml, which would be overwritten; put" in said
    git(mine, "reset", "--quiet", "--hard")
    (generation.folder / "notes.txt").write_text("edited")
    assert generation()
    assert git(mine, "status", "--porcelain") == "M notes.txt"


def test_a_folder_of_another_repository_keeps_its_history(
    generation: Generation, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    repository(tmp_path, {"churn/README.md": "mine"})

    said = refused(generation, capsys)

    assert f"is a folder of the repository {str(tmp_path)!r}, which has files in it, and a project is a" in said


@pytest.mark.parametrize("name", ["data", "models"])
def test_nothing_is_written_through_a_link(
    generation: Generation, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    (tmp_path / "disk").mkdir()
    (generation.folder / name).symlink_to("../disk")

    assert f"has a link to another folder, {name}, which the project would write into" in refused(generation, capsys)


def test_an_environment_of_the_person_is_not_changed(
    generation: Generation, capsys: pytest.CaptureFixture[str]
) -> None:
    (generation.folder / ".venv").mkdir()

    assert "has an environment of yours, .venv, which setup=yes would change" in refused(
        generation, capsys, setup="yes"
    )


def test_files_are_kept_where_the_template_is_not_found_and_from_cruft(
    generation: Generation, capsys: pytest.CaptureFixture[str]
) -> None:
    (generation.folder / "README.md").write_text("mine")
    assert "is not found; write its full path" in refused(generation, capsys, _repo_dir="nowhere")

    answers = {name: text for name, text in generation.answers().items() if not name.startswith("_")}
    assert generation.before.main(answers) == 1
    assert "which cruft would overwrite" in capsys.readouterr().err


def test_links_and_things_of_another_kind_are_moved_whole(
    generation: Generation, capsys: pytest.CaptureFixture[str]
) -> None:
    (generation.folder / "target.txt").write_text("mine")
    (generation.folder / "README.md").symlink_to("target.txt")
    (generation.folder / "schema.yaml").symlink_to("nothing")
    (generation.folder / "docs").write_text("a file")
    (generation.folder / "Dockerfile").mkdir()
    (generation.folder / "Dockerfile" / "base").write_text("FROM x")

    assert generation()

    mine = BakedProject(generation.folder, "")
    assert mine.read("target.txt") == mine.read("before/README.md") == "mine"
    assert (mine.read("before/docs"), mine.read("before/Dockerfile/base")) == ("a file", "FROM x")
    assert (generation.folder / "before" / "schema.yaml").is_symlink()
    assert (
        f"README.md (a link to {generation.folder}/target.txt), docs, schema.yaml (a link to" in capsys.readouterr().out
    )


def test_where_something_cannot_be_moved_nothing_is(
    generation: Generation, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (generation.folder / "README.md").symlink_to("notes.txt")
    mine = repository(generation.folder, dict.fromkeys(("docs/data.md", "notes.txt", "schema.yaml"), "mine"))
    move = generation.before.move

    def refuse(path: Path, goal: Path) -> None:
        if path.name == "schema.yaml":
            raise PermissionError(errno.EPERM, "Operation not permitted", path)
        move(path, goal)

    monkeypatch.setattr(generation.before, "move", refuse)

    assert not generation()

    said = capsys.readouterr().err
    assert "  - project = 'churn' is a folder where schema.yaml cannot be moved or written (Operation not per" in said
    assert git(mine, "status", "--porcelain") == ""
    assert mine.path.joinpath("README.md").readlink() == Path("notes.txt")
    assert not (mine.path / "before").exists()
    assert not mine.path.with_name("churn.unfinished").exists()


def test_a_project_with_commits_of_its_own_is_not_overwritten(short: Path, tmp_path: Path) -> None:
    made = baked(generate(short, tmp_path, setup="no"), tmp_path / "customer-churn")
    git(made, "init", "--quiet")
    commit(made, "Start from cookiecutter-dvc-mlops")

    again = generate(short, tmp_path, "--overwrite-if-exists", setup="no")
    (made.path / "schema.yaml").write_text("mine")
    commit(made, "Mine")
    refused = generate(short, tmp_path, "--overwrite-if-exists", setup="no")

    assert again.returncode == 0, again.stderr
    assert refused.returncode != 0
    assert (
        "is a project with commits of its own, the last one 'Mine', and would be overwritten; choose" in refused.stderr
    )
    assert made.read("schema.yaml") == "mine"


def test_a_repository_gets_the_project_and_loses_nothing(short: Path, tmp_path: Path) -> None:
    mine = BakedProject(tmp_path / "churn", "")
    files = {
        "README.md": "mine",
        ".gitignore": "secret.txt\n",
        "analysis.ipynb": "{}",
        ".github/workflows/ci.yml": "name: mine",
        ".github/workflows/pages.yml": "name: pages",
        "data/raw/old.csv": "a\n1\n",
        "data/raw/telco-churn.csv": "b\n1\n",
    }
    for name, text in files.items():
        (mine.path / name).parent.mkdir(parents=True, exist_ok=True)
        (mine.path / name).write_text(text)
    git(mine, "init", "--quiet")
    commit(mine, "Years of work")

    answers = {"setup": "here", "project": "churn", "ci": "gitlab"}
    made = baked(generate(short, tmp_path, "--overwrite-if-exists", **answers), mine.path)

    places = {name: f"before/{name}" for name in ("README.md", ".gitignore", ".github/workflows/ci.yml")}
    places |= {f"data/raw/{name}": f"data/raw-before/{name}" for name in ("old.csv", "telco-churn.csv")}
    assert {made.read(places.get(name, name)) for name in files} == set(files.values())
    assert "are in before/ now: .github/workflows/ci.yml, .gitignore, README.md." in made.printed
    assert "moved to data/raw-before/old.csv" in made.printed
    assert git(made, "log", "--format=%s").splitlines() == ["Start from cookiecutter-dvc-mlops", "Years of work"]
    assert set(git(made, "show", "--name-only", "--format=").splitlines()) >= {"README.md", "dvc.yaml", "dvc.lock"}
    left = {line[3:]: line[:2].strip() for line in made.run("git", "status", "--porcelain").stdout.splitlines()}
    assert left == {
        **{"before/": "??", ".github/workflows/ci.yml": "D"},
        **{"data/raw/old.csv": "D", "data/raw/telco-churn.csv": "D"},  # for DVC
    }


@pytest.mark.parametrize("name", ["pre_gen_project", "post_gen_project"])
def test_a_hook_has_nothing_to_render_but_the_answers(name: str) -> None:
    text = (TEMPLATE / "hooks" / f"{name}.py").read_text(encoding="utf-8")

    assert re.findall(r"\{\{.*?\}\}|\{[%#]", text) == ["{{ cookiecutter | tojson }}"]


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


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("https://ada:s3@cret@example.org/t.git", "https://example.org/t.git"),
        ("ssh://git:s3cret@example.org/t.git", "ssh://git@example.org/t.git"),
        ("git@example.org:t.git", "git@example.org:t.git"),
    ],
)
def test_no_password_of_the_template_s_address_is_written_down(address: str, public: str) -> None:
    assert hook_module("post_gen_project").public(address) == public
