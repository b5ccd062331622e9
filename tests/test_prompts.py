"""Answers that no project can be made of are refused: all at once, each with what would be right."""

from pathlib import Path
from types import ModuleType

import pytest
from cookiecutter.generate import generate_context
from cookiecutter.prompt import prompt_for_config
from mlops.base import params
from mlops.base.errors import ParameterError

from tests.conftest import TEMPLATE, generate, hook_module

GOOD = {
    "project_name": "Customer churn",
    "project": "customer-churn",
    "description": "",
    "author": "Ada Lovelace",
    "data": "example",
    "target": "churn",
    "dvc_remote": "",
    "mlflow_tracking_uri": "",
    "_repo_dir": str(TEMPLATE),
    "_output_dir": str(TEMPLATE),
}


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    """The hook that refuses."""
    return hook_module("pre_gen_project")


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("project_name", "\"quotes\" and 'quotes', \\, 🎉 👩‍🔬, {{ 1 + 1 }}, \"\"\", ''', $(id), `id`, #"),
        ("project", "A.b_c-9"),
        ("project", "console"),
        ("target", "contract"),
        ("dvc_remote", "/srv/store with 'quotes', # and ,"),
        ("dvc_remote", "~/store"),
        ("dvc_remote", "s3://bucket/prefix"),
        ("dvc_remote", "ssh://someone@host:22/srv/store"),
        ("dvc_remote", "gdrive://root/folder"),
        ("mlflow_tracking_uri", "https://mlflow.example.org/path"),
        ("mlflow_tracking_uri", "sqlite:////srv/mlflow.db"),
        ("mlflow_tracking_uri", "postgresql+psycopg2://someone@host/mlflow"),
        ("mlflow_tracking_uri", "databricks"),
        ("data", "https://data.example.org/loans.csv.gz?version=3"),
        ("data", "s3://bucket/loans.parquet"),
    ],
)
def test_a_usable_answer_is_taken(hook: ModuleType, name: str, answer: str) -> None:
    assert hook.refusals(GOOD | {name: answer}) == []


@pytest.mark.parametrize(
    ("name", "answer", "why"),
    [
        *(
            ("project", name, "'a-b' would do")
            for name in ("a/b", "a\\b", "a b", "-a-b", ".a-b", "a-b.", "a-b ", "a\nb")
        ),
        *(("project", name, "'a-b' would do") for name in ("a:b", "a*b", "a?b", 'a"b', "a<b", "a|b", "a\0b", "aéb")),
        ("project", "con", "device on Windows; 'con-project' would do"),
        ("project", "Com1.data", "device on Windows"),
        ("project", "churn.git", "reserve; 'churn-project' would do"),
        ("project", "x" * 101, "at most 100"),
        ("project", "", "'project' would do"),
        ("project", "🎉", "'project' would do"),
        ("project_name", "two\nlines", "write it on one line"),
        ("project_name", "bell\a", "write it on one line"),
        ("project_name", "not UTF-8 \udcff", "write it on one line"),
        ("description", "costs ${price}", "which `dvc exp run -S` takes for a variable"),
        ("description", "not for YAML \uffff", "write it on one line"),
        ("project_name", "   ", "give it a name"),
        ("description", "two\u2028lines", "write it on one line"),
        ("author", "<>", "give it a letter"),
        ("target", "", "give it a name"),
        ("target", "churn\n", "write it on one line"),
        ("target", "chrun", "which has customer_id, female,"),
        ("data", "", "write 'example', or"),
        ("data", "nowhere.csv", "does not exist"),
        ("data", "hooks", "is not a file"),
        ("data", "cookiecutter.json", "neither CSV nor Parquet"),
        ("data", "x" * 5000 + ".csv", "does not exist"),
        ("data", "https://data.example.org/download?id=3", "does not name the kind of file"),
        ("data", "ftp://data.example.org/loans.csv", "http, https, s3"),
        ("data", "http://[broken/loans.csv", "does not exist"),
        ("dvc_remote", "store", "neither a full path nor a URL"),
        ("dvc_remote", "someone@host:/srv/store", "neither a full path nor a URL"),
        ("dvc_remote", "ftp://host/store", "s3, gs, azure"),
        ("dvc_remote", "s3://", "s3, gs, azure"),
        ("dvc_remote", "ssh://someone:secret@host/store", "--local"),
        ("dvc_remote", "https://token@host/store", "--local"),
        ("dvc_remote", "azure://container/path?sig=abc", "--local"),
        ("dvc_remote", '/srv/"store"', "configuration file"),
        ("dvc_remote", "/srv/%(store)s", "configuration file"),
        ("dvc_remote", "/srv/store\n[core]", "write it on one line"),
        ("mlflow_tracking_uri", "mlruns", "or nothing for SQLite"),
        ("mlflow_tracking_uri", "file:///srv/mlruns", "or nothing for SQLite"),
        ("mlflow_tracking_uri", "sqlite:///mlflow.db", "a full path"),
        ("mlflow_tracking_uri", "sqlite://", "a full path"),
        ("mlflow_tracking_uri", "sqlite:///C:/mlflow.db", "a full path"),
        ("mlflow_tracking_uri", "http://", "names no host"),
        ("mlflow_tracking_uri", "postgresql://someone:secret@host/mlflow", "in the environment instead"),
        ("mlflow_tracking_uri", "mysql://host/mlflow?password=secret", "in the environment instead"),
    ],
)
def test_a_bad_answer_is_refused_with_what_would_be_right(hook: ModuleType, name: str, answer: str, why: str) -> None:
    refusals = hook.refusals(GOOD | {name: answer})

    assert [refusal.split(" = ")[0] for refusal in refusals] == [name]
    assert why in refusals[0]


@pytest.mark.parametrize(
    "uri", ["", "sqlite:////srv/m.db", "sqlite:///C:/m.db", "sqlite:///m.db", "sqlite://", "https://x"]
)
def test_the_hook_and_the_project_take_the_same_tracking_stores(hook: ModuleType, uri: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(f"tracking:\n  uri: '{uri}'\n")
    taken = True
    try:
        params.load(params.Tracking, tmp_path / "params.yaml")
    except ParameterError:
        taken = False

    assert (hook.mlflow_tracking_uri(uri) == "") is taken


def test_a_folder_that_dvc_cannot_work_in_is_refused(
    hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a{b").mkdir()
    monkeypatch.chdir(tmp_path / "a{b")

    [refusal] = hook.refusals(GOOD)

    assert "has a brace in its path, where DVC cannot work" in refusal


def test_the_name_that_a_refusal_proposes_is_itself_taken(hook: ModuleType) -> None:
    for name in ("con", "x.git", "-.git", "a/b", "🎉", "lpt9.", "y" * 300, f"{'z' * 99}//z"):
        proposed = hook.folder_name(name).split("'")[-2]

        assert hook.folder_name(proposed) == "", (name, proposed)


def test_all_bad_answers_are_named_in_one_go_and_nothing_is_written(template: Path, tmp_path: Path) -> None:
    bad = {
        "project_name": "two\nlines",
        "project": "aux",
        "author": '"',
        "data": "nowhere.csv",
        "target": "",
        "dvc_remote": "ftp://host",
        "mlflow_tracking_uri": "sqlite:///relative.db",
    }

    generation = generate(template, tmp_path, "--output-dir", str(tmp_path), **bad)

    assert generation.returncode != 0
    for name in bad:
        assert f"  - {name} = " in generation.stderr
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".cookiecutter")] == []


@pytest.mark.parametrize(
    ("title", "folder"),
    [("Größe & Gewicht", "grosse-gewicht"), ("🎉", "ml-project"), ("x" * 300, "x" * 60), ('"a\\b/c"', "a-b-c")],
)
def test_a_title_in_another_script_gives_a_usable_folder_name(hook: ModuleType, title: str, folder: str) -> None:
    context = generate_context(str(TEMPLATE / "cookiecutter.json"), extra_context={"project_name": title})

    answers = prompt_for_config(context, no_input=True)

    assert answers["project"] == folder
    assert hook.refusals(answers) == []


@pytest.mark.parametrize(
    ("data", "name", "folder"),
    [
        ("example", "Customer churn", "customer-churn"),
        ("deliveries/EU_loans-2024.CSV.gz", "EU loans 2024", "eu-loans-2024"),
        ("C:\\data\\loans.csv", "Loans", "loans"),
        ("https://data.example.org/a/loans.csv.gz?version=3", "Loans", "loans"),
        ("😀.csv", "😀", "ml-project"),
        (".csv", "My project", "my-project"),
    ],
)
def test_a_project_is_named_after_its_table_unless_a_name_is_given(data: str, name: str, folder: str) -> None:
    context = generate_context(str(TEMPLATE / "cookiecutter.json"), extra_context={"data": data})

    answers = prompt_for_config(context, no_input=True)

    assert (answers["project_name"], answers["project"]) == (name, folder)
