"""The one definition of the model's inputs, for training, evaluation, serving and monitoring, and their encoder."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.data.levels import objects
from mlops.data.profile import MICROSECONDS_A_DAY, Profile
from mlops.data.schema import ColumnType, Schema
from mlops.training.task import Task

if TYPE_CHECKING:
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

CALENDAR = ("day", "month", "weekday", "hour")
TARGET_FOLDS = 5
# Rows that are encoded at once: a thousand encoded columns make them 160 MB.
ROWS = 20_000
MEGABYTE = 1_000_000
REPEATED = 4  # times that a text has to stand in a table on average, at least, to be encoded once


def inputs(table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """The columns of a typed table (n rows) that a model takes, in the types that the encoder takes, in schema order.

    Numbers, integers and booleans become float64, categories become objects (str, missing is NaN); a datetime becomes
    four numbers: days since 1970, month (1–12), weekday (Monday is 0) and hour (0–23); the one that orders the rows
    (role time) the last three, since no model learns anything of days to come.
    """
    columns: dict[str, pd.Series] = {}
    for name in schema.inputs:
        columns |= _input(table[name], name, schema)
    return pd.DataFrame(columns, index=table.index, copy=False)


def _input(values: pd.Series, name: str, schema: Schema) -> dict[str, pd.Series]:
    """The columns of `inputs` that the typed values (n,) of one column become."""
    kind = schema.columns[name].type
    if kind == "datetime":
        parts = encoder_columns(name, schema)
        return dict(zip(parts, _calendar(values)[-len(parts) :], strict=True))
    if kind == "category":
        return {name: pd.Series(objects(values), values.index, object)}
    return {name: values.astype("float64")}


def typical(profile: Profile, schema: Schema, latest: str | None) -> dict[str, Any] | None:
    """One made-up raw row: the median or the most frequent level of each column, and no person's data.

    The column that orders the rows has no profile: its value is the `latest` one. Dates are spelt as in `schema`.
    None if a prediction needs a column of the role `source`, of which there is no profile.
    """
    if schema.with_role("source"):
        return None
    as_type: dict[ColumnType, Callable[[Any], Any]] = {
        "number": float,
        "integer": int,
        "boolean": lambda value: value == "True",
    }
    row = {}
    for name in schema.needed:
        column, known = schema.columns[name], profile.get(name)
        value: Any = (column.role == "time" and latest) or 0
        if known is not None and known.given:
            middle = np.searchsorted(np.cumsum(known.counts), known.given / 2)
            value = known.values[known.counts.argmax() if known.kind == "category" else middle]
        if column.type == "datetime":
            # Not by way of nanoseconds: "for ever" is often written as the year 9999.
            day = value if isinstance(value, str) else np.datetime64(round(value * MICROSECONDS_A_DAY), "us")
            moment = pd.Timestamp(day)
            row[name] = moment.strftime(column.format) if column.format else moment.isoformat(timespec="seconds")
        else:
            row[name] = as_type.get(column.type, str)(value)
    return row


def column_types(schema: Schema) -> dict[str, str]:
    """The columns of `inputs` and their types, `string` or `double`, from the schema alone."""
    kinds = {name: "string" if schema.columns[name].type == "category" else "double" for name in schema.inputs}
    return {column: kind for name, kind in kinds.items() for column in encoder_columns(name, schema)}


def encoder_columns(name: str, schema: Schema) -> list[str]:
    """The columns of `inputs` that a feature becomes."""
    column = schema.columns[name]
    if column.type != "datetime":
        return [name]
    return [_calendar_name(name, part, schema) for part in (CALENDAR if column.role == "feature" else CALENDAR[1:])]


def many_levels(
    table: pd.DataFrame, schema: Schema, max_levels: int, megabytes: int, rows: int | None = None
) -> list[str]:
    """The categories among `inputs` (n rows) that have too many levels for a column each, in schema order.

    Those are the ones of more than `max_levels`, and, as long as the encoded table would take more than `megabytes`,
    the one that has the most. The encoded table has n rows, or as many `rows` as are given.
    """
    levels = {name: table[name].nunique() for name in of_categories(schema)}
    few = sorted((name for name in levels if levels[name] <= max_levels), key=levels.__getitem__)
    while few and sum(levels[name] for name in few) * (len(table) if rows is None else rows) * 8 > megabytes * MEGABYTE:
        few.pop()
    return [name for name in levels if name not in few]


def width(table: pd.DataFrame, schema: Schema, many: list[str], classes: int) -> int:
    """About how many columns the categories of `inputs` (n rows) and all other inputs are encoded as."""
    levels = {name: table[name].nunique() for name in of_categories(schema)}
    numbers = sum(len(encoder_columns(name, schema)) for name in schema.inputs if name not in levels)
    few = sum(count for name, count in levels.items() if name not in many)
    return numbers + few + len(many) * (classes if classes > 2 else 1)


def encoder(schema: Schema, many: list[str], rare_level: int, task: Task, seed: int) -> "ColumnTransformer":
    """An unfitted transformer from `inputs` to a dense float64 matrix.

    Numbers: median for missing values, then mean 0 and spread 1. Categories: the most frequent level for missing
    values, then one column per level; levels in fewer than `rare_level` training rows and those first seen after
    training share one. Categories of `many` levels become the mean of the target over their level (one column, or for
    more than two classes one per class), learnt on other rows than it is used on and shrunk towards the whole's mean
    (Micci-Barreca 2001, scikit-learn's `TargetEncoder`); what is missing is a level of theirs.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.model_selection import KFold
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    from mlops.training.target_encoder import LookedUp

    numbers = Pipeline(
        [("impute", SimpleImputer(strategy="median", keep_empty_features=True)), ("scale", StandardScaler())]
    )
    one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=rare_level, sparse_output=False)
    categories = Pipeline(
        [("impute", SimpleImputer(strategy="most_frequent", keep_empty_features=True)), ("encode", one_hot)]
    )
    kind = "continuous" if task == "regression" else "auto"  # a fold may lack a rare class
    folds = KFold(TARGET_FOLDS, shuffle=True, random_state=seed)
    means = LookedUp(target_type=kind, cv=folds)
    of_category = [name for name in of_categories(schema) if name not in many]
    of_number = [
        part
        for name in schema.inputs
        if schema.columns[name].type != "category"
        for part in encoder_columns(name, schema)
    ]
    return ColumnTransformer(
        [("numbers", numbers, of_number), ("categories", categories, of_category), ("means", means, many)],
        verbose_feature_names_out=False,
    )


def fit_transform(
    encoder: "ColumnTransformer",
    table: pd.DataFrame,
    target: NDArray[np.generic],
    rows: NDArray[np.integer[Any]],
    parts: Sequence[NDArray[np.integer[Any]]],
) -> list[NDArray[np.float64]]:
    """Fit `encoder` in place on `rows` (m,) of `inputs` and their target (m,); return the encoded rows of each part.

    A part holds positions in `rows`. Encoder and rows are, to the byte, those of `encoder.fit_transform`. That holds
    the features, what each transformer makes of them and both together; here, nothing of many rows is held beside the
    result.
    """
    from sklearn.base import clone
    from sklearn.frozen import FrozenEstimator

    unfitted, fitted, means = encoder.transformers, [], {}
    for name, transformer, columns in unfitted:
        one = clone(transformer) if len(columns) else transformer
        if len(columns) and name == "numbers":
            _fit_numbers(one, table, columns, rows)
        elif len(columns) and name == "means":  # gives a row what it learnt on others, so that it needs all of them
            means[name] = one.fit_transform(table[columns].iloc[rows], target)
        elif len(columns):
            one.fit(table[columns].iloc[rows])
        fitted.append((name, one, columns))
    # Of frozen transformers, the encoder learns their widths alone, from any rows.
    encoder.transformers = [(name, FrozenEstimator(one), columns) for name, one, columns in fitted]
    few = encoder.fit_transform(table.iloc[rows[:2]])
    encoder.transformers, encoder.transformers_ = unfitted, fitted

    matrices = []
    for part in parts:
        matrix = np.empty((len(part), few.shape[1]), order="F" if few.flags.f_contiguous else "C")
        for start in range(0, len(part), ROWS):
            batch = slice(start, start + ROWS)
            matrix[batch] = encoder.transform(table.iloc[rows[part[batch]]])
        for name, columns in means.items():
            matrix[:, encoder.output_indices_[name]] = columns[part]
        matrices.append(matrix)
    return matrices


def _fit_numbers(numbers: "Pipeline", table: pd.DataFrame, columns: list[str], rows: NDArray[np.integer[Any]]) -> None:
    """Fit the pipeline of numbers in place, column by column: a fit takes five times the memory of what it is given."""
    from sklearn.base import clone

    each = [clone(numbers).fit(table[[name]].iloc[rows]) for name in columns]
    numbers.fit(table[columns].iloc[rows[:2]])
    for step, learnt in (("impute", ("statistics_",)), ("scale", ("mean_", "var_", "scale_"))):
        for attribute in learnt:
            setattr(numbers[step], attribute, np.concatenate([getattr(one[step], attribute) for one in each]))
    numbers["scale"].n_samples_seen_ = each[0]["scale"].n_samples_seen_


def encode(encoder: "ColumnTransformer", table: pd.DataFrame, schema: Schema) -> NDArray[np.float64]:
    """What a fitted `encoder` makes of the `inputs` of a typed table (n rows), bit by bit, in a third of the time.

    Each different text is encoded once, if texts repeat.
    """
    codes, levels = {}, {}
    for name in of_categories(schema):
        codes[name], levels[name] = pd.factorize(table[name], use_na_sentinel=False)
    most = max(map(len, levels.values()), default=1)
    if most > len(table) / REPEATED:
        return np.asarray(encoder.transform(inputs(table, schema)), dtype=np.float64)
    # One row for each level of the column that has most; the numbers in it are of no use.
    few = {
        name: table[name].head(1).repeat(most).reset_index(drop=True)
        if name not in levels
        else pd.Series(levels[name].take(np.arange(most) % len(levels[name])), name=name)
        for name in schema.inputs
    }
    of_levels = encoder.transform(inputs(pd.DataFrame(few), schema))
    # In the order of scikit-learn's: sums of a linear model depend on it.
    encoded = np.empty((len(table), of_levels.shape[1]), order="F" if of_levels.flags.f_contiguous else "C")
    for name, transformer, columns in encoder.transformers_:
        place = encoder.output_indices_[name]
        if name == "numbers" and len(columns):
            parts: dict[str, pd.Series] = {}
            for feature in schema.inputs:
                parts |= {} if feature in levels else _input(table[feature], feature, schema)
            encoded[:, place] = transformer.transform(pd.DataFrame(parts)[columns])
        elif len(columns):
            for column, block in zip(columns, _blocks(name, transformer, columns, place), strict=True):
                found = slice(block[0], block[-1] + 1)
                encoded[:, found] = of_levels[:, found].take(codes[column], axis=0)
    return encoded


def encoded_blocks(encoder: "ColumnTransformer", schema: Schema) -> dict[str, NDArray[np.intp]]:
    """Which columns of the encoded matrix each feature became."""
    blocks: dict[str, NDArray[np.intp]] = {}
    for name, transformer, columns in encoder.transformers_:
        if len(columns):
            found = _blocks(name, transformer, columns, encoder.output_indices_[name])
            blocks |= dict(zip(columns, found, strict=True))
    return {name: np.concatenate([blocks[part] for part in encoder_columns(name, schema)]) for name in schema.inputs}


def _blocks(name: str, transformer: Any, columns: list[str], place: slice) -> list[NDArray[np.intp]]:
    """Which columns of the encoded matrix each of the `columns` of a transformer became; all of them are at `place`."""
    encoded = np.arange(place.start, place.stop)
    if name != "categories":  # as many columns each: one, or of a mean target one per class
        return np.split(encoded, len(columns))
    # Numbered names, so that no column name or level can be mistaken for another.
    names = transformer["encode"].get_feature_names_out([f"{number}\0" for number in range(len(columns))])
    origin = np.array([int(name.partition("\0")[0]) for name in names])
    return [encoded[origin == number] for number in range(len(columns))]


def of_categories(schema: Schema) -> list[str]:
    """The inputs that are categories."""
    return [name for name in schema.inputs if schema.columns[name].type == "category"]


def _calendar_name(name: str, part: str, schema: Schema) -> str:
    """The name of a part of a datetime; it differs from every column's name."""
    called = f"{name} {part}"
    while called in schema.columns:
        called += "_"
    return called


def _calendar(times: pd.Series) -> list[pd.Series]:
    # Not by way of a Timestamp, which is of nanoseconds: "for ever" is often written as the year 9999.
    days = times.astype("int64").where(times.notna()) / MICROSECONDS_A_DAY
    return [days, *(part.astype("float64") for part in (times.dt.month, times.dt.day_of_week, times.dt.hour))]
