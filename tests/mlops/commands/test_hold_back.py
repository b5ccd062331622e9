"""`data hold-back` and `schema infer --update`: own data becomes labelled rows, a delivery and a schema."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlops.__main__ import app
from mlops.base.errors import ProjectError
from mlops.intake import deliveries, tables
from typer.testing import CliRunner, Result

ROWS = 600


def table(rows: int = ROWS) -> pd.DataFrame:
    random = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "seen": pd.date_range("2024-01-01", periods=rows, freq="h").strftime("%d.%m.%Y %H:%M"),
            "size": random.normal(size=rows).round(3),
            "level": random.choice(["a", "b", "c"], rows),
            "label": random.choice(["no", "yes"], rows),
        }
    )


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder, which is the working directory."""
    (tmp_path / "data" / "raw").mkdir(parents=True)
    (tmp_path / "data" / "incoming").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def prepared(project: Path, data: pd.DataFrame, name: str = "own.csv", **written: object) -> Result:
    """The output of hold-back for a table whose schema has been inferred."""
    path = project / "data" / "raw" / name
    data.to_parquet(path) if name.endswith(".parquet") else data.to_csv(path, index=False, **written)  # type: ignore[call-overload]
    assert run("schema", "infer", "--target", "label").exit_code == 0
    return run("data", "hold-back")


def whole(folder: Path) -> pd.DataFrame:
    return pd.concat(batch for path in deliveries.present(folder) for batch in deliveries.batches(path))


@pytest.mark.parametrize("name", ["own.csv", "own.csv.gz", "own.parquet"])
def test_the_newest_tenth_by_time_is_kept_back_and_no_row_is_lost(project: Path, name: str) -> None:
    data = table()

    done = prepared(project, data.sample(frac=1, random_state=1), name)

    assert "60 of 600 rows, the newest by seen, kept back" in done.output
    left, away = whole(project / "data" / "raw"), whole(project / "data" / "incoming")
    assert set(away["seen"]) == set(data["seen"].tail(60))
    assert sorted([*left["seen"], *away["seen"]]) == sorted(data["seen"])


def test_without_a_time_a_tenth_of_each_class_is_drawn_and_both_parts_keep_their_order(project: Path) -> None:
    data = table().drop(columns="seen").assign(key=range(ROWS), label=["no"] * 580 + ["yes"] * 20)

    done = prepared(project, data, sep=";", encoding="utf-16")

    assert "60 of 600 rows, drawn at random (no column has the role time), kept back" in done.output
    left, away = (whole(project / "data" / part).astype({"key": int}) for part in ("raw", "incoming"))
    assert away["label"].value_counts().to_dict() == {"no": 58, "yes": 2}
    assert 200 < away["key"].mean() < 400  # not one end of a sorted file
    assert left["key"].is_monotonic_increasing
    assert away["key"].is_monotonic_increasing
    assert sorted([*left["key"], *away["key"]]) == list(range(ROWS))


def test_values_stay_as_they_were_written_so_that_a_wrong_draft_can_be_corrected(project: Path) -> None:
    data = table().assign(seen=[f"0{1 + row % 9}/0{1 + row % 7}/2024" for row in range(ROWS)])
    data["price"] = [f"{1 + row % 9},{100 + row % 900}" for row in range(ROWS)]

    prepared(project, data)

    cells = pd.concat([whole(project / "data" / "raw"), whole(project / "data" / "incoming")])[["seen", "price"]]
    assert sorted(cells.to_numpy().tolist()) == sorted(data[["seen", "price"]].to_numpy().tolist())


def test_of_few_rows_none_is_kept_back(project: Path) -> None:
    done = prepared(project, table(499))

    assert "499 rows: too few" in done.output
    assert deliveries.listed(project / "data" / "incoming") == []


def test_rows_that_are_ordered_by_their_class_stay_together(project: Path) -> None:
    data = table().assign(label=["no"] * 550 + ["yes"] * 50)

    done = prepared(project, data)

    assert "nothing is kept back: the newest by seen are most rows of the class yes" in done.output
    assert len(whole(project / "data" / "raw")) == ROWS


def test_a_file_whose_rows_are_all_the_newest_moves_as_a_whole(project: Path) -> None:
    data = table()
    data.tail(60).to_csv(project / "data" / "raw" / "new.csv", index=False)

    prepared(project, data.head(540))

    assert [path.name for path in deliveries.listed(project / "data" / "raw")] == ["own.csv"]
    assert [path.name for path in deliveries.listed(project / "data" / "incoming")] == ["new.csv"]


def test_a_delivery_that_is_there_is_not_written_over(project: Path) -> None:
    prepared(project, table())

    done = run("data", "hold-back")

    assert isinstance(done.exception, ProjectError)
    assert "own.csv is a delivery already" in str(done.exception)


@pytest.mark.parametrize("name", ["new.csv", "new.parquet"])
def test_columns_that_a_file_lacks_are_named(project: Path, name: str) -> None:
    data = table(20)
    data.to_csv(project / "data" / "raw" / "own.csv", index=False)
    run("schema", "infer", "--target", "label")
    other, path = data.drop(columns=["seen", "label"]), project / "data" / "raw" / name
    other.to_parquet(path) if path.suffix == ".parquet" else other.to_csv(path, index=False)

    done = run("data", "hold-back")

    assert isinstance(done.exception, ProjectError)
    assert f"{name} lacks the columns seen, label that schema.yaml names (it has size, level)" in str(done.exception)


def test_a_dry_run_keeps_nothing_back(project: Path) -> None:
    table().to_csv(project / "data" / "raw" / "own.csv", index=False)
    run("schema", "infer", "--target", "label")

    done = run("data", "hold-back", "--dry-run")

    assert "would be kept back" in done.output
    assert len(whole(project / "data" / "raw")) == ROWS


def test_an_update_adds_what_is_new_and_leaves_every_other_byte(project: Path) -> None:
    edited = """\
# mine
columns:
    # the one that counts
    size: {type: number, role: feature, min: -9}   # do not touch

    label:
        type: category
        role: target

missing: ["", "none"]  # ours
"""
    (project / "schema.yaml").write_text(edited, encoding="utf-8")
    table().to_csv(project / "data" / "raw" / "own.csv", index=False)

    done = run("schema", "infer", "--update")

    assert done.exit_code == 0, done.output
    assert "added seen, level" in done.output
    written = (project / "schema.yaml").read_text(encoding="utf-8")
    new = [line for line in written.splitlines() if line.strip().startswith(("seen:", "level:"))]
    assert len(new) == 2
    for line in new:
        written = written.replace(line + "\n", "")
    assert written == edited
    assert list(tables.read_schema(project / "schema.yaml").columns) == ["size", "label", "seen", "level"]
    assert "nothing to add" in run("schema", "infer", "--update").output


def test_an_update_of_what_infer_wrote_is_what_infer_writes(project: Path) -> None:
    table().drop(columns="level").to_csv(project / "data" / "raw" / "own.csv", index=False)
    run("schema", "infer", "--target", "label")
    table()[["seen", "size", "label", "level"]].to_csv(project / "data" / "raw" / "own.csv", index=False)
    run("schema", "infer", "--update")
    updated = (project / "schema.yaml").read_text(encoding="utf-8")

    run("schema", "infer", "--target", "label", "--force")

    assert (project / "schema.yaml").read_text(encoding="utf-8") == updated


def test_batches_of_any_size_make_the_same_file(tmp_path: Path) -> None:
    data = table(1_000)
    tables.write(tmp_path / "whole.parquet", data)

    rows = tables.write_batches(tmp_path / "parts.parquet", (data[at : at + 7] for at in range(0, 1_000, 7)))

    assert rows == 1_000
    assert (tmp_path / "parts.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
