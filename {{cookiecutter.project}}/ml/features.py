"""The one definition of the features: what training, evaluation, serving and monitoring give to a model."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ml.schema import Schema

if TYPE_CHECKING:
    from sklearn.compose import ColumnTransformer

CALENDAR = ("day", "month", "weekday", "hour")


def inputs(table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """The feature columns of a typed table (n rows) in the types that the encoder takes, in schema order.

    Numbers, integers and booleans become float64, categories become objects (str, missing is NaN); a datetime becomes
    four numbers: days since 1970, month (1–12), weekday (Monday is 0) and hour (0–23).
    """
    columns: dict[str, pd.Series] = {}
    for name in schema.features:
        values = table[name]
        kind = schema.columns[name].type
        if kind == "datetime":
            columns |= zip(encoder_columns(name, schema), _calendar(values), strict=True)
        else:
            columns[name] = values.astype(object if kind == "category" else "float64")
    return pd.DataFrame(columns, index=table.index)


def column_types(schema: Schema) -> dict[str, str]:
    """The columns of `inputs` and their types, `string` or `double`: a model's signature, from the schema alone."""
    kinds = {name: "string" if schema.columns[name].type == "category" else "double" for name in schema.features}
    return {column: kind for name, kind in kinds.items() for column in encoder_columns(name, schema)}


def encoder_columns(name: str, schema: Schema) -> list[str]:
    """The columns of `inputs` that a feature becomes."""
    return [f"{name} {part}" for part in CALENDAR] if schema.columns[name].type == "datetime" else [name]


def encoder(schema: Schema, rare_level: int, max_levels: int) -> "ColumnTransformer":
    """An unfitted transformer from `inputs` to a dense float64 matrix.

    Numbers: median for missing values, then mean 0 and spread 1. Categories: the most frequent level for missing
    values, then one column per level; levels in fewer than `rare_level` training rows, all beyond the `max_levels` - 1
    most frequent, and those first seen after training share one level.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = Pipeline(
        [("impute", SimpleImputer(strategy="median", keep_empty_features=True)), ("scale", StandardScaler())]
    )
    one_hot = OneHotEncoder(
        handle_unknown="infrequent_if_exist", min_frequency=rare_level, max_categories=max_levels, sparse_output=False
    )
    categories = Pipeline(
        [("impute", SimpleImputer(strategy="most_frequent", keep_empty_features=True)), ("encode", one_hot)]
    )
    of_category = [name for name in schema.features if schema.columns[name].type == "category"]
    of_number = [part for name in schema.features if name not in of_category for part in encoder_columns(name, schema)]
    return ColumnTransformer(
        [("numbers", numbers, of_number), ("categories", categories, of_category)], verbose_feature_names_out=False
    )


def _calendar(times: pd.Series) -> list[pd.Series]:
    days = (times - pd.Timestamp(0)) / np.timedelta64(1, "D")
    return [days, *(part.astype("float64") for part in (times.dt.month, times.dt.day_of_week, times.dt.hour))]
