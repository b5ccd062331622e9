"""The content digest names what a table says: not how, where or in which order it is stored."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops.data import digest as digests
from mlops.data.digest import column_digest, content_digest, digest, model_of, prediction_ids, row_hashes
from mlops.data.schema import Schema
from mlops.intake import collecting

TYPED = pd.DataFrame(
    {
        "number": pd.Series([1.5, np.nan, -2.0, 0.0], dtype="float64"),
        "integer": pd.Series([1, None, 2**53 + 1, 0], dtype="Int64"),
        "flag": pd.Series([True, None, False, True], dtype="boolean"),
        "level": pd.Series(["a", None, "", "ä"], dtype="str"),
        "at": pd.to_datetime(pd.Series(["2024-01-01", None, "1969-12-31", "2024-01-01"])).astype("datetime64[us]"),
    }
)
SCHEMA = Schema(
    columns={
        "number": {"type": "number"},
        "integer": {"type": "integer"},
        "flag": {"type": "boolean"},
        "level": {"type": "category"},
        "at": {"type": "datetime"},
        "y": {"type": "category", "role": "target"},
    }
)
DELIVERY = pd.DataFrame(
    {
        "number": [1.5, None, -2.0, 0.25],
        "integer": pd.array([1, None, 2**53 + 1, 4], dtype="Int64"),
        "flag": pd.array([True, None, False, True], dtype="boolean"),
        "level": ["a", None, "b", 'ä,\n"x"'],
        "at": pd.to_datetime(["2024-01-01", None, "1969-12-31", "2024-01-01"]),
        "y": list("abab"),
    }
)
ROWS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.floats(allow_infinity=False)),
        st.one_of(st.none(), st.text(max_size=3)),
        st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
    ),
    min_size=1,
    max_size=8,
)


def table(rows: list[tuple[float | None, str | None, int | None]]) -> pd.DataFrame:
    number, text, integer = zip(*rows, strict=True)
    return pd.DataFrame(
        {
            "number": pd.Series(number, dtype="float64"),
            "text": pd.Series(text, dtype="str"),
            "integer": pd.Series(integer, dtype="Int64"),
        }
    )


@settings(deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows: list[tuple], random: object) -> None:  # type: ignore[type-arg]
    shuffled = random.sample(rows, len(rows))  # type: ignore[attr-defined]

    assert content_digest(table(shuffled)) == content_digest(table(rows))


@settings(deadline=None)
@given(ROWS, st.data())
def test_a_row_that_is_added_removed_or_doubled_matters(rows: list[tuple], data: st.DataObject) -> None:  # type: ignore[type-arg]
    digest = content_digest(table(rows))
    row = data.draw(st.integers(0, len(rows) - 1))

    assert content_digest(table([*rows, rows[row]])) != digest
    assert content_digest(table([*rows, (4.5, "new", 7)])) != digest
    assert content_digest(table(rows)[np.arange(len(rows)) != row]) != digest


@pytest.mark.parametrize("row", range(4))
@pytest.mark.parametrize(
    ("column", "value"),
    [("number", 1.5000000000000002), ("integer", 2**53 + 2), ("flag", "other"), ("level", "z"), ("at", "2020-01-01")],
)
def test_any_changed_cell_matters(column: str, value: object, row: int) -> None:
    changed = TYPED.copy()
    if value == "other":
        value = not bool(TYPED["flag"].fillna(value=True)[row])
    changed.loc[row, column] = pd.Timestamp(str(value)) if column == "at" else value

    assert (changed.dtypes == TYPED.dtypes).all()
    assert content_digest(changed) != content_digest(TYPED)


@pytest.mark.parametrize("column", TYPED.columns)
def test_a_value_that_goes_missing_matters(column: str) -> None:
    changed = TYPED.copy()
    changed.loc[3, column] = None

    assert content_digest(changed) != content_digest(TYPED)


def test_missing_is_neither_zero_nor_empty_nor_1970() -> None:
    filled = TYPED.fillna({"number": 0.0, "integer": 0, "flag": False, "level": "", "at": pd.Timestamp(0)})

    for column in TYPED:
        assert content_digest(filled[[column]]) != content_digest(TYPED[[column]])


def test_a_renamed_column_and_another_type_matter() -> None:
    digest = content_digest(TYPED)

    assert content_digest(TYPED.rename(columns={"level": "levels"})) != digest
    assert content_digest(TYPED.astype({"integer": "float64"})) != digest


def test_text_that_moves_over_the_border_of_two_cells_matters() -> None:
    one = pd.DataFrame({"a": ["ab", "c"], "b": ["d", "e"]}, dtype="str")
    other = pd.DataFrame({"a": ["a", "bc"], "b": ["d", "e"]}, dtype="str")

    assert content_digest(one) != content_digest(other)


def test_swapping_the_cells_of_a_column_matters() -> None:
    swapped = TYPED.assign(level=TYPED["level"].iloc[::-1].to_numpy())

    assert content_digest(swapped) != content_digest(TYPED)


@settings(deadline=None)
@given(ROWS, st.integers(1, 4))
def test_a_row_has_the_same_hash_in_whatever_part_it_stands(rows: list[tuple], size: int) -> None:  # type: ignore[type-arg]
    whole = table(rows)

    parts = [row_hashes(whole[start : start + size]) for start in range(0, len(rows), size)]

    assert np.array_equal(np.concatenate(parts), row_hashes(whole))


@settings(deadline=None)
@given(ROWS)
def test_the_digest_of_columns_one_by_one_is_that_of_the_table(rows: list[tuple]) -> None:  # type: ignore[type-arg]
    whole = table(rows)

    assert digest(row_hashes(whole), (whole[name].copy() for name in whole)) == content_digest(whole)


@pytest.mark.parametrize("column", TYPED.columns)
def test_the_digest_of_a_column_is_of_its_values_their_order_and_type_and_of_no_name(column: str) -> None:
    values = TYPED[column]

    assert column_digest(values.rename("other")) == column_digest(values)
    assert column_digest(values.set_axis([7, 8, 9, 10])) == column_digest(values)
    assert column_digest(values.iloc[::-1]) != column_digest(values)
    assert column_digest(values.astype("str")) != column_digest(values) or column == "level"


def test_minus_zero_is_zero() -> None:
    one = pd.DataFrame({"x": [0.0, 1.0, -0.0], "k": [1, 2, 3]})

    assert content_digest(one) == content_digest(one.assign(x=[-0.0, 1.0, 0.0]))


def test_a_table_keeps_its_digest_through_parquet(tmp_path: Path) -> None:
    TYPED.to_parquet(tmp_path / "a.parquet", index=False)

    assert content_digest(pd.read_parquet(tmp_path / "a.parquet")) == content_digest(TYPED)


def delivered(folder: Path, files: dict[str, pd.DataFrame]) -> str:
    folder.mkdir()
    for name, part in files.items():
        if name.endswith(".parquet"):
            part.to_parquet(folder / name)
        else:
            part.to_csv(folder / name, index=False)
    with collecting.collected(
        folder, SCHEMA, SCHEMA.kept, lambda table: table, folder.with_name("aside.parquet")
    ) as found:
        return found.table.digest()


@pytest.mark.parametrize(
    "files",
    [
        {"a.csv.gz": DELIVERY},
        {"a.parquet": DELIVERY},
        {"another name.csv": DELIVERY[::-1]},
        {"a.csv": DELIVERY[DELIVERY.columns[::-1]]},
        {"1.csv": DELIVERY[:2], "2.csv": DELIVERY[2:]},
        {"1.csv": DELIVERY[2:], "2.csv": DELIVERY[:2]},
        {"1.parquet": DELIVERY[1:2], "2.csv": DELIVERY[:1], "3.csv.gz": DELIVERY[2:]},
    ],
    ids=["gzip", "parquet", "rows", "columns", "split", "file order", "mixed"],
)
def test_the_digest_does_not_depend_on_how_the_data_was_delivered(
    files: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    assert delivered(tmp_path / "other", files) == delivered(tmp_path / "one", {"a.csv": DELIVERY})


def test_a_prediction_is_named_after_its_model_and_its_row() -> None:
    rows = pd.DataFrame({"x": [1.0, 2.0, 1.0]})

    first, other, again = prediction_ids("ab" * 32, rows)

    assert first == again != other
    assert model_of(first) == "ab" * 8
    assert prediction_ids("cd" * 32, rows)[0].partition("-")[2] == first.partition("-")[2]
    assert model_of("2") == model_of("ab" * 8) == model_of("models/model.joblib") == ""


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), max_size=30), st.lists(st.integers(0, 9), max_size=30))
def test_hashes_are_found_again_as_in_a_set(one: list[int], other: list[int]) -> None:
    hashes, known = (np.array(values, dtype=np.uint64) for values in (one, other))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digests, "BLOCK", 4)

        assert digests.repeated(hashes).tolist() == sorted((Counter(one) - Counter(set(one))).elements())
        assert digests.among(hashes, np.sort(known)).tolist() == [value in other for value in one]


@pytest.mark.parametrize("name", ["number", "text", "flag", "day"])
def test_a_digest_and_hashes_are_those_of_the_whole_column_however_few_values_are_copied_at_once(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {
        "number": pd.Series([1.5, None, -0.0, 3.0, 2.0]),
        "text": pd.Series(["a", "", None, "äö", "a"], dtype="str"),
        "flag": pd.Series([True, None, False, True, True], dtype="boolean"),
        "day": pd.Series(pd.to_datetime(["2024-01-01", None, "9999-12-31", "2024-01-01", "1900-02-03"])).astype(
            "datetime64[us]"
        ),
    }[name].rename(name)
    table = values.to_frame()
    whole = content_digest(table), column_digest(values), row_hashes(table).tolist()
    monkeypatch.setattr(digests, "BLOCK", 2)

    parts = content_digest(table), column_digest(values), digests.value_hashes(values).tolist()

    assert parts == whole
