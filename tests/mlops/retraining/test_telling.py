"""Whom `retrain` tells: of a failure, of its end, and of drift, by the channels of the section `alerts`."""

from pathlib import Path
from typing import Any

import pytest
from mlops.__main__ import app
from mlops.base.errors import ParameterError, StoreError
from mlops.retraining import loop
from typer.testing import CliRunner

DRIFTED = {
    "verdict": "2 of 3 features drifted",
    "alarm": True,
    "retraining": {"recommended": True, "reasons": ["67% of the features drifted"]},
    "delivery": {"rows": 40, "digest": "d", "files": ["new.csv"]},
    "features": {"watched": 3, "drifted": ["age", "size"], "share": 2 / 3},
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("register: {name: demo}\nmonitor: {}\nalerts: {}\n")
    return tmp_path


def outcome(watched: Any, became: str = "not needed") -> dict[str, Any]:
    return {"outcome": became, "watched": watched, "told": [f"this is what came of it: {became}"]}


def test_drift_is_told_once_and_a_failure_until_it_works_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*given: Any, alarm: Any, **more: Any) -> dict[str, Any]:
        alarm("retraining failed, and production is as it was: no remote")
        raise StoreError("no remote")

    def errors() -> str:
        return CliRunner().invoke(app, ["retrain"]).stderr

    monkeypatch.setattr(loop, "run", lambda *given, **more: outcome(DRIFTED))
    first, second = errors(), errors()
    monkeypatch.setattr(loop, "run", fails)
    failed = errors()
    monkeypatch.setattr(loop, "run", lambda *given, **more: outcome(None))
    works = errors()
    monkeypatch.setattr(loop, "run", lambda *given, **more: outcome(None, "rolled back"))
    rolled_back = errors()

    assert "Retraining is recommended" in first
    assert "2 of 3 features drifted" in first
    assert "recommended" not in second
    assert "Retraining failed" in failed
    assert "no remote" in failed
    assert "Retraining works again" in works
    assert "The version of a retraining was rolled back" in rolled_back
    assert "works again" not in rolled_back


def test_a_channel_without_an_address_is_refused_before_anything_is_done(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLOPS_ALERT_WEBHOOK", raising=False)
    Path("params.yaml").write_text("register: {name: demo}\nalerts: {channels: [log, webhook]}\n")

    with pytest.raises(ParameterError, match="MLOPS_ALERT_WEBHOOK"):
        CliRunner().invoke(app, ["retrain"], catch_exceptions=False)
