"""The small table that models are fitted to in these tests."""

import numpy as np
import pandas as pd
from mlops.data.schema import Schema

SCHEMA = Schema(
    columns={
        "size": {"type": "number"},
        "level": {"type": "category"},
        "y": {"type": "category", "role": "target"},
    }
)
PATHS = {
    "forest": "sklearn.ensemble.RandomForestClassifier",
    "boosting": "sklearn.ensemble.HistGradientBoostingClassifier",
    "logistic": "sklearn.linear_model.LogisticRegression",
    "descent": "sklearn.linear_model.SGDClassifier",
    "dummy": "sklearn.dummy.DummyClassifier",
}


def data(rows: int = 200) -> tuple[pd.DataFrame, np.ndarray]:
    """Features with missing values and a rare level, and a target that depends on them."""
    rng = np.random.default_rng(1)
    size = rng.normal(size=rows)
    level = rng.choice(["a", "b", "c"], p=[0.6, 0.37, 0.03], size=rows).astype(object)
    target = np.where(size + (level == "b") + rng.normal(size=rows) > 0.5, "yes", "no").astype(object)
    size[::9], level[::11] = np.nan, np.nan
    return pd.DataFrame({"size": size, "level": level}), target
