"""The rates and gaps of groups are fairlearn's."""

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import (
    MetricFrame,
    demographic_parity_difference,
    equalized_odds_difference,
    false_positive_rate,
    selection_rate,
    true_positive_rate,
)
from mlops.evaluation import fairness
from mlops.training.metrics import Predictions
from sklearn.metrics import precision_score

RATES = {
    "selection_rate": selection_rate,
    "tpr": true_positive_rate,
    "fpr": false_positive_rate,
    "precision": precision_score,
}


@pytest.mark.parametrize("seed", range(5))
def test_rates_and_gaps_agree_with_fairlearn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = pd.Series(rng.choice(["a", "b", "c"], 600, p=[0.6, 0.3, 0.1]), dtype="str", name="group")
    actual = rng.random(600) < 0.4
    predicted = rng.random(600) < np.where(actual, 0.7, 0.2) * np.where(groups == "a", 1.0, 0.7)
    sides = (np.where(side, "yes", "no").astype(object) for side in (actual, predicted))

    found = fairness.report(Predictions(*sides, None, ("no", "yes"), "yes"), groups.to_frame(), 1, 0.95)

    theirs = MetricFrame(metrics=RATES, y_true=actual, y_pred=predicted, sensitive_features=groups).by_group
    for group in found["columns"][0]["groups"]:
        for name in RATES:
            assert group[name]["rate"] == pytest.approx(theirs.loc[group["level"], name])
    of = {"y_true": actual, "y_pred": predicted, "sensitive_features": groups}
    assert found["gaps"] == pytest.approx(
        {
            "demographic_parity": demographic_parity_difference(**of),
            "equalised_odds": equalized_odds_difference(**of),
        }
    )
