"""When the loop of a simulated year retrains."""

from mlops.base.params import Monitor, Retrain
from mlops.simulation import rules
from mlops.simulation.rules import Watched

CALM = Watched(None, 0.79, 2000, 0.8, 800, 3200, 1000, 14.0)
DRIFTED = {"retraining": {"recommended": True, "reasons": ["47% of the features drifted, more than 30%"]}}


def test_drift_and_a_fall_of_accuracy_are_reasons_and_luck_is_none() -> None:
    def reasons(least: float | None = None, oldest: float | None = None, **changed: object) -> list[str]:
        watched = Watched(**{**CALM.__dict__, **changed})  # type: ignore[arg-type]
        return rules.reasons(watched, Monitor(minimum_accuracy=least), Retrain(oldest_days=oldest))

    assert reasons() == []
    assert reasons(drift=DRIFTED) == ["monitor recommends retraining: 47% of the features drifted, more than 30%"]
    assert reasons(oldest=10) == ["the model is 14.0 days old, more than 10"]
    [fall] = reasons(realised=0.72)
    assert "is 0.720, on the test split it was 0.800" in fall
    assert reasons(realised=0.72, rows=200) == []  # 2.2 standard errors
    assert reasons(realised=0.775, rows=10**6, tested=10**6) == []  # sure, and too little to matter
    [low] = reasons(least=0.785, realised=0.78)
    assert low.endswith("is 0.780, below 0.785")
    assert reasons(realised=0.1, rows=99) == []
    assert reasons(realised=None, rows=0) == []
