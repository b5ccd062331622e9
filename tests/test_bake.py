"""What is generated: exactly the files that were asked for, and every answer where and as it was given."""

import csv
import fnmatch
import hashlib
import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dvc.config import Config
from dvc.utils.hydra import apply_overrides
from jinja2 import Environment
from ruamel.yaml import YAML

from tests.conftest import PROJECT, TEMPLATE, BakedProject, baked, generate, template_files

# Named after what they try; `setup` has its tests in test_hooks.py.
COMBINATIONS: dict[str, dict[str, str]] = {
    "defaults": {},
    "gitlab, S3 and a tracking server": {
        "ci": "gitlab",
        "dvc_remote": "s3://bucket/prefix",
        "mlflow_tracking_uri": "https://mlflow.example.org",
    },
    "no CI, a remote and a database on this machine": {
        "ci": "none",
        "project": "Telco_2.0",
        "dvc_remote": "/srv/dvc store",
        "mlflow_tracking_uri": "sqlite:////srv/mlflow.db",
    },
    "another target of the example": {"target": "contract", "ci": "github"},
    "own data": {"data": "loans.csv", "target": "paid", "ci": "none"},
}
CI_FILES = {"github": ".github/", "gitlab": ".gitlab-ci.yml"}
# The example data as published: 7,043 customers in one file.
PUBLISHED = "1540ebf506d63afb28e92c4419991d0f3b64de8c3a76d2a12981a6d2f5cb5f7b"
SETTINGS = json.loads((TEMPLATE / "cookiecutter.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module", params=COMBINATIONS, ids=COMBINATIONS.keys())
def combination(request: pytest.FixtureRequest) -> dict[str, str]:
    """The answers of one combination."""
    return COMBINATIONS[request.param]


@pytest.fixture(scope="module")
def project(combination: dict[str, str], template: Path, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """The project of one combination, to be looked at and not to be changed."""
    stands = tmp_path_factory.mktemp("combination")
    (stands / "loans.csv").write_text("amount,paid\n100,yes\n250,no\n")
    folder = stands / combination.get("project", "loans" if "data" in combination else "customer-churn")
    return baked(generate(template, stands, **{"setup": "no"} | combination), folder)


def copied(name: str) -> bool:
    """Whether the template says that this file is not rendered."""
    return any(fnmatch.fnmatch(name, pattern) for pattern in SETTINGS["_copy_without_render"])


def shipped() -> set[str]:
    """All files of the project part of the template."""
    return {name.removeprefix(f"{PROJECT}/") for name in template_files() if name.startswith(f"{PROJECT}/")}


def parsed(project: BakedProject) -> dict[str, Any]:
    """Every TOML, YAML and JSON file of the project; one that does not parse raises."""

    def documents(text: str) -> Any:
        """The document in a YAML file, or the list of them."""
        found = list(YAML(typ="safe").load_all(text))
        return found[0] if len(found) == 1 else found

    readers = {
        ".toml": tomllib.loads,
        ".yaml": documents,
        ".yml": documents,
        ".json": json.loads,
    }
    return {
        name: readers[Path(name).suffix](project.read(name)) for name in project.files if Path(name).suffix in readers
    }


def dvc_remote(project: BakedProject) -> str:
    """The remote as DVC's own parser reads it."""
    url: str = Config.load_file(str(project.path / ".dvc" / "config"))["remote"]["storage"]["url"]
    return url


def assert_written_as_dvc_writes(project: BakedProject) -> None:
    """`dvc exp run -S` writes params.yaml anew: what is not in DVC's own form would change along with the value."""
    before = project.read("params.yaml").splitlines()
    apply_overrides(str(project.path / "params.yaml"), ["train.folds=7"])
    after = project.read("params.yaml").splitlines()
    assert len(before) == len(after)
    changed = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
    assert changed == [("  folds: 5", "  folds: 7")]


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_there_are_at_most_ten_prompts_and_each_asks_a_human_question() -> None:
    prompts = [name for name in SETTINGS if not name.startswith("_")]

    assert len(prompts) <= 10
    assert set(SETTINGS["__prompts__"]) == set(prompts)
    for name in prompts:
        if isinstance(SETTINGS[name], list):
            assert set(SETTINGS["__prompts__"][name]) == {"__prompt__", *SETTINGS[name]}


def test_exactly_the_files_that_were_asked_for_are_generated(
    combination: dict[str, str], project: BakedProject
) -> None:
    expected = shipped() | {"mlops/MANIFEST", "data/events/README.md"}
    for ci, name in CI_FILES.items():
        if ci != combination.get("ci", "github"):
            expected = {file for file in expected if not file.startswith(name)}
    if "data" in combination:
        expected = {file for file in expected if not (file.startswith("data/") and file.endswith(".csv"))}
        expected.add("data/raw/loans.csv")

    assert project.files == expected


def test_every_file_is_either_a_copy_or_rendered_to_the_end(project: BakedProject) -> None:
    for name in sorted(project.files & shipped()):
        if copied(name):
            assert (project.path / name).read_bytes() == (TEMPLATE / PROJECT / name).read_bytes(), name
        else:
            # an expression of GitHub's own, ${{ … }}, is meant to stay
            assert re.findall(r"(?<!\$)\{\{.*|\{%.*|\{#.*|.*cookiecutter\..*", project.read(name)) == [], name


def test_every_structured_file_parses(project: BakedProject) -> None:
    assert {"pyproject.toml", "params.yaml", "schema.yaml", "dvc.yaml"} <= set(parsed(project))


def test_the_remote_is_the_answer_or_a_folder_beside_the_project(
    combination: dict[str, str], project: BakedProject
) -> None:
    beside = f"../../{project.path.name}-storage"

    assert dvc_remote(project) == combination.get("dvc_remote", beside)


def test_hostile_answers_come_back_from_every_file_as_they_were_typed(template: Path, tmp_path: Path) -> None:
    title = "\"quotes\" 'quotes' \\ \\n 🎉 {{ 1 + 1 }} {% raw %} {# # : - [x] & *a \"\"\" '''"
    description = (
        "'; import pathlib; pathlib.Path('canary').touch() # $(touch canary) `touch canary` %(x)s ]] --- 🦆 \\"
    )
    author = 'O\'Brien 🦆 "\\" <ob@example.org>, {{ cookiecutter }}'
    remote = "/srv/O'Brien's # 100 %, {{ store }} \\"
    uri = "https://mlflow.example.org/'\\{{ 1 + 1 }}#x: y"
    typed = "\n".join(["", "", title, "hostile", description, author, remote, uri, "3", "3", ""])

    project = baked(generate(template, tmp_path, typed=typed), tmp_path / "hostile")

    files = parsed(project)
    assert files["pyproject.toml"]["project"]["description"] == description
    assert files["pyproject.toml"]["project"]["authors"] == [{"name": author}]
    assert files["params.yaml"]["card"]["purpose"] == description
    assert files["params.yaml"]["card"]["owner"] == author
    assert files["params.yaml"]["tracking"]["uri"] == uri
    assert_written_as_dvc_writes(project)
    assert dvc_remote(project) == remote
    assert not list(tmp_path.rglob("canary"))
    assert title in project.read("README.md")


def test_dvc_changes_one_line_of_the_parameters_for_one_value(project: BakedProject) -> None:
    assert_written_as_dvc_writes(project)


@pytest.mark.parametrize(
    "text",
    ["", "true", "Null", "2024-01-31", "1e5", "a: b", "a #b", "a:", "- a", "'", "ä", " a ", "word " * 40],
)
def test_no_answer_is_read_as_something_else_than_its_text(text: str, tmp_path: Path) -> None:
    source = (TEMPLATE / PROJECT / "params.yaml").read_text(encoding="utf-8")
    answers = dict.fromkeys(("project", "description", "author", "mlflow_tracking_uri"), text)
    rendered = Environment(**SETTINGS["_jinja2_env_vars"]).from_string(source).render(cookiecutter=answers)  # noqa: S701
    (tmp_path / "params.yaml").write_text(rendered + "\n", encoding="utf-8")

    content = YAML(typ="safe").load(rendered)

    assert {content["register"]["name"], content["card"]["purpose"], content["tracking"]["uri"]} == {text.strip()}
    assert_written_as_dvc_writes(BakedProject(tmp_path, ""))


def test_the_example_is_the_published_data_cut_in_two_deliveries(bake: Callable[..., BakedProject]) -> None:
    project = bake()
    raw = project.path / "data" / "raw" / "telco-churn.csv"
    incoming = project.path / "data" / "incoming" / "telco-churn-next.csv"

    header, *later = incoming.read_bytes().splitlines(keepends=True)

    assert raw.read_bytes().startswith(header)
    assert (len(rows(raw)), len(rows(incoming))) == (6000, 1043)
    assert hashlib.sha256(raw.read_bytes() + b"".join(later)).hexdigest() == PUBLISHED
    assert sum(row["total_charges"] == "" for row in rows(raw) + rows(incoming)) == 11
    assert sum(row["churn"] == "Yes" for row in rows(raw) + rows(incoming)) / 7043 == pytest.approx(0.265, abs=5e-4)


def test_no_file_of_the_project_is_ignored_by_git(bake: Callable[..., BakedProject]) -> None:
    project = bake(ci="github")
    project.run("git", "init", "--quiet")

    assert project.run("git", "status", "--porcelain", "--ignored").stdout.count("!!") == 0


def test_python_in_the_template_has_no_jinja() -> None:
    for name in template_files():
        if name.startswith(PROJECT) and name.endswith(".py"):
            assert not re.search(r"\{\{|\{%|\{#", (TEMPLATE / name).read_text(encoding="utf-8")), name
