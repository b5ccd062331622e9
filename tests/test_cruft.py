"""Upgrades: a new version of the template reaches a project, and what the owner owns stays as it is.

The real `cruft` command makes a project from version 1 of the template and updates it to version 2, with own data and
with the default answer to `setup`. Cookiecutter makes the same one, and `python -m mlops upgrade` updates that.
"""

import inspect
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import (
    PROJECT,
    TEMPLATE,
    BakedProject,
    bake_copy,
    baked,
    copy_template,
    generate,
    hook_module,
    surroundings,
    template_files,
)

ANSWERS = {"data": "deliveries/loans.csv", "target": "paid"}
NOTE = """\
    with open(os.environ["FOLDERS"], "a", encoding="utf-8") as file:
        print(json.dumps([os.getcwd(), sorted(os.listdir())]), file=file)
"""
CHANGES = "# Changes\n\n## 2.0.0\n- A knob.\n\n## 0.0.1\n- Old news.\n"
PARAMETER = "  confidence: 0.95\n"
LINE_LENGTH = "line-length = 120\n"


@dataclass(frozen=True)
class Made:
    """The template with its versions as tags v1 and v2, and the project that cruft made from v1."""

    template: Path
    project: BakedProject
    folders: Path

    @property
    def folders_of_hooks(self) -> dict[str, list[str]]:
        """What was in each folder when the hook that worked in it ended."""
        return dict(json.loads(line) for line in self.folders.read_text().splitlines())


def commit(repository: Path, message: str) -> None:
    """Commit all files of a repository, which is made if there is none."""
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    for command in (["init", "--quiet"], ["add", "--all"], [*identity, "commit", "--quiet", "--message", message]):
        subprocess.run(["git", *command], cwd=repository, env=surroundings(repository), check=True)


def write(project: Path, files: dict[str, str]) -> None:
    """Write files of a project; a text that starts with `+` is added to the end of its file."""
    for name, text in files.items():
        path = project / name
        path.write_text(path.read_text() + text[1:] if text.startswith("+") else text)


def replace(path: Path, old: str, new: str) -> None:
    """Replace the one place in a file that has the text `old`."""
    text = path.read_text()
    assert text.count(old) == 1, path
    path.write_text(text.replace(old, new))


def cruft(project: BakedProject, *arguments: str) -> BakedProject:
    """The project after a command of cruft that ended well, with what it printed."""
    done = project.run(sys.executable, "-m", "cruft", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return BakedProject(project.path, done.stdout + done.stderr, project.env)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A project that `cruft create` made in the folder above it, from own data."""
    stands = tmp_path_factory.mktemp("cruft")
    template = copy_template(stands / "template")
    project = template / PROJECT
    write(
        template,
        {"hooks/post_gen_project.py": f"+{NOTE}", f"{PROJECT}/mlops/base/retired.py": '"""Removed in version 2."""\n'},
    )
    commit(template, "Version 1")
    subprocess.run(["git", "tag", "v1"], cwd=template, check=True)
    write(
        project,
        {
            "mlops/__init__.py": '+\nNEWS = "of version 2"\n',
            "mlops/base/added.py": '"""New in version 2."""\n',
            "params.yaml": "+\nnew:                          # a new section\n  knob: 1\n",
            ".mypy.ini": "+# a comment of version 2\n",
            "project/features.py": "+# version 2\n",
            "project/added.py": '"""A new place for code of the owner."""\n',
            "schema.yaml": "+# version 2\n",
            "data/raw/telco-churn.csv": "customer_id\n1\n",
        },
    )
    (project / "mlops" / "base" / "retired.py").unlink()
    replace(project / ".ruff.toml", LINE_LENGTH, "line-length = 140\n")
    write(template, {"CHANGELOG.md": CHANGES, f"{PROJECT}/mlops/VERSION": "2.0.0\n"})
    replace(template / "cookiecutter.json", '  "setup": ["yes"', '  "region": "eu",\n  "setup": ["yes"')
    commit(template, "Version 2")
    subprocess.run(["git", "tag", "v2.0.0"], cwd=template, check=True)

    (stands / "deliveries").mkdir()
    (stands / "deliveries" / "loans.csv").write_text("amount,paid\n100,yes\n250,no\n")
    environment = {"FOLDERS": str(stands / "folders.jsonl")}
    person = BakedProject(stands, "", environment)
    arguments = ["create", str(template), "--no-input", "--checkout", "v1", "--extra-context", json.dumps(ANSWERS)]
    printed = cruft(person, *arguments).printed
    return Made(template, BakedProject(stands / "loans", printed, environment), stands / "folders.jsonl")


@pytest.fixture(scope="module")
def cooked(made: Made, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """The same project as cookiecutter makes it from a clone of version 1."""
    stands = tmp_path_factory.mktemp("cookiecutter")
    subprocess.run(["git", "clone", "--quiet", "--branch", "v1", str(made.template), str(stands / "v1")], check=True)
    shutil.copytree(made.project.path.parent / "deliveries", stands / "deliveries")
    generation = generate(stands / "v1", stands, env={"FOLDERS": str(stands / "folders")}, setup="no", **ANSWERS)
    return baked(generation, stands / "loans")


def edited(project: BakedProject, stands: Path) -> BakedProject:
    """A clone of a project, edited by its owner, on a machine without the data."""
    path = stands / "loans"
    shutil.copytree(project.path, path, ignore=shutil.ignore_patterns("raw", "incoming"))
    commit(path, "Start")
    replace(path / "params.yaml", PARAMETER, "  confidence: 0.9\n")
    replace(path / ".ruff.toml", LINE_LENGTH, "line-length = 100\n")
    write(
        path,
        {
            "project/features.py": '"""Code of the owner."""\n',
            "schema.yaml": "target: paid\n",
            "mlops/owner.py": '"""A file of the owner among the machinery."""\n',
        },
    )
    (path / ".mypy.ini").unlink()
    commit(path, "Own work")
    return BakedProject(path, "", project.env)


@pytest.fixture(scope="module")
def by_cruft(made: Made, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """The edited project after `cruft update`."""
    return cruft(edited(made.project, tmp_path_factory.mktemp("owner")), "update", "--skip-apply-ask")


@pytest.fixture(scope="module")
def by_upgrade(made: Made, cooked: BakedProject, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """The edited project after `python -m mlops upgrade`, which asks for a look at a conflict."""
    stands = tmp_path_factory.mktemp("owner")
    project = edited(cooked, stands).with_env(FOLDERS=str(stands / "folders"))
    replace(project.path / ".cruft.json", '"checkout": null', '"checkout": "v1"')  # as `--checkout v1` leaves it
    commit(project.path, "Where it comes from")
    done = project.run(sys.executable, "-m", "mlops", "upgrade")
    assert done.returncode == 3, done.stdout + done.stderr
    return BakedProject(project.path, done.stdout, project.env)


@pytest.fixture(scope="module", params=["by_cruft", "by_upgrade"])
def updated(request: pytest.FixtureRequest) -> BakedProject:
    """The edited project, brought to version 2 either way."""
    project: BakedProject = request.getfixturevalue(request.param)
    return project


def changed(project: BakedProject) -> dict[str, str]:
    """How each file differs from the last commit: A is added, D is deleted, M is modified, U is in conflict."""
    listed = project.run("git", "diff", "--name-status", "HEAD").stdout.splitlines()
    status = {name: letter for letter, name in (line.split("\t") for line in listed)}
    unmerged = project.run("git", "diff", "--name-only", "--diff-filter=U").stdout.split()
    return status | dict.fromkeys(unmerged, "U")


def test_cruft_makes_the_same_files_as_cookiecutter_without_setup(made: Made, cooked: BakedProject) -> None:
    assert made.project.files == cooked.files
    for name in cooked.files - {".cruft.json"}:
        assert (made.project.path / name).read_bytes() == (cooked.path / name).read_bytes(), name


def test_a_project_knows_its_template_and_the_answers_whoever_made_it(made: Made, cooked: BakedProject) -> None:
    ours, cruft_s = (json.loads(project.read(".cruft.json")) for project in (cooked, made.project))

    assert ours.keys() <= cruft_s.keys()
    assert (ours["commit"], ours["directory"]) == (cruft_s["commit"], None)
    assert ours["template"] == str(cooked.path.parent / "v1")
    answers = {name: value for name, value in cruft_s["context"]["cookiecutter"].items() if name[0] != "_"}
    assert ours["context"]["cookiecutter"] == answers | {"setup": "no"}
    assert cooked.run(sys.executable, "-m", "cruft", "check").returncode == 0  # cruft reads it; its clone has no newer


def test_cruft_create_copies_own_data_and_prints_the_commands_that_are_left(made: Made) -> None:
    left = made.project.printed.split("in this order:")[1].split("Then:")[0]

    assert made.project.read("data/raw/loans.csv") == "amount,paid\n100,yes\n250,no\n"
    assert "cruft adds .cruft.json" in made.project.printed
    commands = ["git init", "pip install", "schema infer --target paid", "dvc add", "dvc repro", "git add --all"]
    places = [left.index(command) for command in commands]
    assert places == sorted(places)


def test_hooks_only_write_files_although_setup_is_yes(made: Made, by_cruft: BakedProject) -> None:
    assert json.loads(by_cruft.read(".cruft.json"))["context"]["cookiecutter"]["setup"] == "yes"
    temporary = Path(tempfile.gettempdir()).resolve()
    folders = made.folders_of_hooks
    compared = [folder for folder in folders if Path(folder).parents[1] == temporary]

    assert (len(folders), len(compared)) == (3, 2)
    for names in folders.values():
        assert set(names) & {"mlops", "params.yaml", "README.md"}
        assert set(names).isdisjoint({".git", ".venv", "mlflow.db", "dvc.lock", "models"})
    assert "left to you" not in by_cruft.printed


def test_check_tells_an_old_project_from_an_updated_one(made: Made, by_cruft: BakedProject) -> None:
    old = made.project.run(sys.executable, "-m", "cruft", "check")

    assert old.returncode == 1
    assert "out of date" in old.stdout
    assert "up to date" in cruft(by_cruft, "check").printed


def test_an_update_changes_the_machinery_and_nothing_that_the_owner_owns(updated: BakedProject) -> None:
    assert changed(updated) == {
        ".cruft.json": "M",
        "mlops/MANIFEST": "M",
        "mlops/VERSION": "M",
        "mlops/__init__.py": "M",
        "mlops/base/added.py": "A",
        "mlops/base/retired.py": "D",
        "params.yaml": "M",
        "project/added.py": "A",
        ".ruff.toml": "U",
    }
    assert updated.read("mlops/__init__.py").endswith('NEWS = "of version 2"\n')
    assert updated.read("mlops/base/added.py") == '"""New in version 2."""\n'
    assert updated.read("project/features.py") == '"""Code of the owner."""\n'
    assert not (updated.path / ".mypy.ini").exists()


def test_an_update_adds_a_new_parameter_beside_the_owners_edit(updated: BakedProject) -> None:
    difference = updated.run("git", "diff", "HEAD", "--", "params.yaml").stdout

    assert "  confidence: 0.9\n" in updated.read("params.yaml")
    assert updated.read("params.yaml").endswith("new:                          # a new section\n  knob: 1\n")
    assert not [line for line in difference.splitlines() if line.startswith("-") and not line.startswith("---")]


def test_a_line_that_both_have_changed_is_a_conflict_that_git_shows(updated: BakedProject) -> None:
    conflict = updated.read(".ruff.toml").split("<<<<<<<")[1].split(">>>>>>>")[0]

    assert "line-length = 100" in conflict
    assert "line-length = 140" in conflict
    assert "UU .ruff.toml" in updated.run("git", "status", "--short").stdout


def test_an_upgrade_says_what_changed_and_what_is_left(by_upgrade: BakedProject) -> None:
    printed = by_upgrade.printed

    assert "the template's version 0.2.0 (" in printed
    assert ") → 2.0.0 (" in printed
    assert "2.0.0:\n  - A knob.\n\nnew in params.yaml: new.knob\n" in printed
    assert "Old news" not in printed
    assert json.loads(by_upgrade.read(".cruft.json"))["checkout"] is None  # that of the version before is past
    assert "new questions, answered by default: region=eu (" in printed
    assert json.loads(by_upgrade.read(".cruft.json"))["context"]["cookiecutter"]["region"] == "eu"
    assert "1. resolve .ruff.toml, and `git add .ruff.toml`\n2. `git diff --cached`" in printed


def test_what_was_upgraded_is_up_to_date_or_taken_back(by_upgrade: BakedProject, tmp_path: Path) -> None:
    project = bake_copy(by_upgrade, tmp_path)
    uncommitted = project.call("upgrade")
    commit(project.path, "Upgrade")
    again = project.call("upgrade")
    old = json.loads(project.run("git", "show", "HEAD~1:.cruft.json").stdout)["commit"]
    back = project.call("upgrade", "--to", old, "--dry-run")
    project.run("git", "reset", "--quiet", "--hard", "HEAD~1")

    assert (uncommitted.returncode, "changes that are not committed" in uncommitted.stderr) == (1, True)
    assert (again.returncode, again.stdout.endswith("nothing to do\n")) == (0, True)
    assert f"{old} ({old[:8]}) does not follow the project's version (" in back.stdout
    assert " → 0.2.0 (" in back.stdout
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert not (project.path / "mlops" / "base" / "added.py").exists()


def test_an_upgrade_that_cannot_be_made_changes_nothing(cooked: BakedProject, tmp_path: Path) -> None:
    project = edited(cooked, tmp_path).with_env(FOLDERS=str(tmp_path / "folders"))
    (project.path / "project" / "added.py").write_text("mine = 1\n")

    for options, said in {
        ("--to", "v3"): "the template has no tag, branch or commit v3",
        ("--template", f"{tmp_path}/nowhere"): "nowhere could not be fetched",
        (): "project/added.py is here, not in Git, and comes with the new version",
    }.items():
        done = project.run(sys.executable, "-m", "mlops", "upgrade", *options)
        assert (done.returncode, said in done.stderr) == (1, True), done.stderr
        assert project.run("git", "status", "--porcelain").stdout == "?? project/added.py\n"


@pytest.mark.parametrize("name", ["pre_gen_project", "post_gen_project"])
@pytest.mark.parametrize(
    ("folder", "answers", "expected"),
    [
        ("tmpab_1cd2e/churn", {}, True),
        ("tmpab_1cd2e/churn", {"_output_dir": "anywhere"}, False),  # cookiecutter
        ("tmp.aB3dE5fG/churn", {}, False),  # `cruft create` in a folder of `mktemp -d`
        ("tmpab_1cd2e/work/churn", {}, False),
        ("churn", {}, False),
    ],
)
def test_a_hook_knows_the_folders_in_which_cruft_compares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, folder: str, answers: dict[str, str], expected: bool
) -> None:
    (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path / folder)

    assert hook_module(name).rendered_to_compare(answers) is expected


def test_both_hooks_recognise_cruft_alike() -> None:
    before, after = hook_module("pre_gen_project"), hook_module("post_gen_project")

    assert before.TEMPORARY == after.TEMPORARY
    for name in ("run_by_cruft", "rendered_to_compare"):
        assert inspect.getsource(getattr(before, name)) == inspect.getsource(getattr(after, name))


def test_an_update_never_changes_code_of_the_owner_that_the_template_ships() -> None:
    lines = (TEMPLATE / PROJECT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    (skip,) = [line for line in lines if line.startswith("skip = ")]
    shipped = {name.removeprefix(f"{PROJECT}/") for name in template_files() if name.startswith(f"{PROJECT}/project/")}

    # by name, not as a folder: a file that is new in a later version must still arrive, since dvc.yaml may need it
    assert shipped == {name for name in tomllib.loads(skip)["skip"] if name.startswith("project")}


def test_the_machinery_names_the_version_of_the_template() -> None:
    template = tomllib.loads((TEMPLATE / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert (TEMPLATE / PROJECT / "mlops" / "VERSION").read_text(encoding="utf-8") == f"{template['version']}\n"
