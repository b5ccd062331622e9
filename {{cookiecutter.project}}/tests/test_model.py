"""How the model behaves on single rows, whatever it has learnt."""

import numpy as np
import pandas as pd

from mlops.training.model import FittedModel


def answers(model: FittedModel, table: pd.DataFrame) -> np.ndarray:
    """The probabilities of the n rows, or the predicted numbers where there are none."""
    predictions = model.predict(table)
    return predictions.predicted if predictions.probabilities is None else predictions.probabilities


def test_an_answer_depends_on_its_own_row_only(model: FittedModel, rows: pd.DataFrame) -> None:
    together = answers(model, rows)

    one_by_one = np.concatenate([answers(model, rows.iloc[[row]]) for row in range(20)])
    # Not to the last bit: of one row, BLAS may add in another order than of many.
    np.testing.assert_allclose(answers(model, rows[::-1])[::-1], together, rtol=1e-9)
    np.testing.assert_allclose(one_by_one, together[:20], rtol=1e-9)


def test_the_label_is_not_looked_at(model: FittedModel, rows: pd.DataFrame) -> None:
    unlabelled = rows.drop(columns=model.schema.target)

    assert np.array_equal(answers(model, unlabelled), answers(model, rows))


def test_missing_values_and_unknown_levels_get_an_answer(model: FittedModel, rows: pd.DataFrame) -> None:
    odd = rows.head(1)
    for name in model.schema.inputs:
        column = model.schema.columns[name]
        value = "a level that nobody has seen" if column.type == "category" else None
        odd = odd.assign(**{name: pd.Series([value], odd.index, rows[name].dtype)})

    assert np.isfinite(answers(model, odd)).all()
