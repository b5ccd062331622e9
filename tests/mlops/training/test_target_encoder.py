"""Looking levels up gives the same as scikit-learn's way, whatever levels occur."""

import pickle

import numpy as np
import pandas as pd
import pytest
from mlops.training.target_encoder import LookedUp
from sklearn.model_selection import KFold
from sklearn.preprocessing import TargetEncoder

RNG = np.random.default_rng(0)


def drawn(rows: int, levels: int) -> pd.DataFrame:
    table = pd.DataFrame({name: RNG.integers(0, levels, rows).astype(str) for name in ("a", "b")}, dtype=object)
    return table.mask(RNG.random(table.shape) < 0.1)


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        ("auto", RNG.integers(0, 2, 500)),
        ("auto", RNG.integers(0, 4, 500)),
        ("continuous", RNG.normal(size=500)),
    ],
)
def test_rows_become_the_same_means_and_the_model_keeps_its_bytes(kind: str, target: np.ndarray) -> None:
    table, folds = drawn(500, 40), KFold(5, shuffle=True, random_state=0)
    usual, looked_up = (encoder(target_type=kind, cv=folds) for encoder in (TargetEncoder, LookedUp))
    learnt = usual.fit_transform(table, target)
    assert np.array_equal(looked_up.fit_transform(table, target), learnt)
    content = pickle.dumps(looked_up)

    for rows in (table, drawn(100, 60), drawn(1, 60), pd.DataFrame({"a": ["new"], "b": ["new"]}, dtype=object)):
        assert np.array_equal(looked_up.transform(rows), usual.transform(rows))

    assert pickle.dumps(looked_up) == content
    others = table.replace({"1": "one"})
    again = [encoder.fit(others, target).transform(others[:3]) for encoder in (usual, looked_up)]
    assert np.array_equal(*again)
