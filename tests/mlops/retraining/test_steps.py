"""How far a retraining goes by itself, and where its commits and the tags of its model come from."""

from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlops.base import params, yaml
from mlops.base.errors import DataError
from mlops.history.commands import Done
from mlops.registry import registration
from mlops.retraining import loop, steps, workspace
from mlops.retraining.journal import Journal, read
from mlops.retraining.steps import Request, Run
from mlops.retraining.workspace import Start
from mlops.rollout.release import Released

MODEL = "a" * 64


def run_of(clone: Path, **found: dict[str, Any]) -> Run:
    kept = Journal({}, "", found, path=None)
    return Run(clone, Start("c" * 40, "main", ""), Request(), kept, params.Retrain(), lambda: datetime.now(UTC), print)


@pytest.mark.parametrize(
    ("gate", "review", "why"),
    [
        (False, {"regression": False, "admitted": True, "unknown": ""}, "the gate failed"),
        (True, {"regression": True, "admitted": True, "unknown": ""}, "it is a regression"),
        (True, {"regression": False, "admitted": False, "unknown": ""}, "the gate fails today"),
        (True, {"regression": False, "admitted": False, "unknown": "no server"}, "no server"),
        (True, {"regression": False, "admitted": True, "unknown": ""}, "there is no remote"),
    ],
)
def test_the_main_branch_stays_unless_all_rules_hold(
    gate: bool, review: dict[str, Any], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "push", lambda *_: pytest.fail("it was pushed"))

    found = steps.accept(run_of(tmp_path, train={"gate": gate}, review=review))

    assert (found["merged"], found["refused"]) == (False, False)
    assert found["why"].startswith(why)


def test_without_the_address_of_the_server_its_canary_is_left_to_deliver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLOPS_SERVER_URL", raising=False)
    (tmp_path / "params.yaml").write_text("serving: {route: canary}\n", encoding="utf-8")

    found = steps.promote(run_of(tmp_path, register={"version": "3", "said": ""}))

    assert not found["promoted"]
    assert found["awaited"].startswith("version 3 is the challenger: its canary is begun by `python -m mlops deliver`")


@pytest.mark.parametrize(
    ("outcome", "state", "told"),
    [
        ("rolled back", "rolled back", "main has its result: revert cccccccc there"),
        ("promoted", "in production", "as the server says"),
        ("waiting", "merged", "awaited: as the server says"),
        ("undecided", "merged", "awaited: as the server says"),
    ],
)
def test_a_retraining_ends_as_its_canary_does(
    outcome: Any, state: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "release", lambda *_: Released(outcome, "as the server says", "2"))
    monkeypatch.setattr(steps.clones, "restore", lambda *_: None)
    monkeypatch.setattr(steps.registry, "configured", lambda: nullcontext((None, params.Register())))
    monkeypatch.setattr(steps.audit, "read", lambda *_: [])
    monkeypatch.setattr(steps.audit, "write_copy", lambda _: None)
    monkeypatch.setattr(workspace, "head", lambda _: "d" * 40)
    monkeypatch.setattr(workspace, "keep", lambda *_, **__: "e" * 40)
    monkeypatch.setattr(workspace, "push", lambda *_: Done(0, ""))
    (tmp_path / "params.yaml").write_text("serving: {route: champion}\n", encoding="utf-8")
    made: dict[str, dict[str, Any]] = {
        "take": {"origin": "", "digest": "", "files": []},
        "watch": {"verdict": ""},
        "decide": {"trigger": "new rows"},
        "train": {"same": False, "gate": True, "model": MODEL},
        "review": {"headline": "better", "regression": False},
        "branch": {"name": "retrain/ab", "commit": "c" * 40},
        "propose": {},
        "accept": {"merged": True, "refused": False, "why": ""},
        "register": {"version": "3", "said": ""},
    }
    run = replace(run_of(tmp_path, **made), settings=params.Retrain(auto_merge=True))

    loop._accept(run, lambda _: None)
    found = loop._outcome(run)

    assert (found["outcome"], found["left"] == []) == (state, state != "merged")
    assert told in " ".join(found["told"])


def test_what_the_gate_refuses_is_not_promoted(tmp_path: Path) -> None:
    found = steps.promote(run_of(tmp_path, register={"version": None, "said": "version none: skill"}))

    assert found == {"promoted": False, "awaited": "no version was made: version none: skill"}


def test_rows_are_not_new_because_the_schema_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = tmp_path / "data" / "raw"
    raw.mkdir(parents=True)
    for name, rows in (("a-old", 3), ("b-refused", 3), ("c-longer", 4)):
        pd.DataFrame({"x": range(rows)}).to_parquet(raw / f"{name}.parquet")
    asked: list[str] = []

    def ingested(_: Run, path: str, *_options: str) -> dict[str, Any]:
        asked.append(Path(path).stem)
        if "refused" in path:
            raise DataError("a value that is no longer allowed")
        return {"digest": "by the schema of today" if "old" in path else "another"}

    monkeypatch.setattr(steps, "_ingested", ingested)

    assert steps._is_in(run_of(tmp_path), raw, "by the schema of today", 3)
    assert not steps._is_in(run_of(tmp_path), raw, "of other rows", 3)
    assert asked == ["a-old", "a-old", "b-refused"]


def test_a_source_is_known_again_without_its_secrets() -> None:
    one, other = (Request(f"postgresql://me:s3cr3t@host/shop{at}", "SELECT 1").identity() for at in (1, 2))

    assert "s3cr3t" not in str(one)
    assert one != other


def test_the_parameters_say_who_made_one_model_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("# mine\ncard:\n  owner: Ada\n  retrained:   # by the loop\n    model: ''\n", encoding="utf-8")

    yaml.update(path, "card", {"retrained": {"model": MODEL, "trigger": "drift", "reasons": ["8 of 19: yes", "old"]}})

    card = params.load(params.Card, path)
    found = card.retrained
    assert (found.of(MODEL), found.of("b" * 64), params.Retrained().of("")) == (found, None, None)
    assert registration._loop_tags(found) == {
        "training_type": "automatic",
        "trigger": "drift",
        "reasons": "8 of 19: yes; old",
    }
    assert registration._loop_tags(None) == {}
    text = path.read_text(encoding="utf-8")
    assert "# mine" in text
    assert "# by the loop" in text
    assert card.owner == "Ada"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"request": {}}'])
def test_a_journal_that_cannot_be_read_is_begun_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text, encoding="utf-8")

    assert read(tmp_path / "state.json") is None
