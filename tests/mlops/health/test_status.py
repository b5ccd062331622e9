"""The command `status`: what it shows, what it proposes, and that nothing unreachable makes it fail."""

import json
import os
import re
import shutil
import time
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from mlops.__main__ import app
from mlops.base import files, pages
from mlops.health import routes, screen, status, storage
from mlops.health import versions as stored
from mlops.history import cache
from mlops.registry import audit, ledger, registry
from mlops.retraining.journal import Journal
from mlops.serving import routing, state
from typer.testing import CliRunner

from tests.conftest import BakedProject, bake_copy, storage_of
from tests.mlops.health.conftest import Project, bad, now, remove
from tests.mlops.health.test_doctor import API, serving
from tests.projects import Team, answers, commit, succeeds

DEAD = 2_000_000_011
GONE = {"available": False, "why": "it is out of order"}


VERDICT = "7 of 19 features drifted (36.8%): retraining is recommended; 2 of the last 3 checks raised an alarm"
ROUTE = "canary, step 2 of 3: version 4 answers 5 % of the requests, version 3 the others"
OPEN = [
    {"name": name, "level": "critical", "told": "2026-11-28T06:00:00", "title": title}
    for name, title in (("drift", "Retraining is recommended"), ("retraining", "Retraining failed"))
]


def facts(**changed: dict[str, Any]) -> dict[str, Any]:
    """The facts of a project in which much goes on, some of them changed."""
    newest = {"version": "4", "aliases": ["challenger"], "commit": "c" * 40, "approved": False, "model_digest": "d4"}
    known: dict[str, dict[str, Any]] = {
        "registry": {"versions": [newest], "entries": [], "approval": "required"},
        "production": {
            "version": "3",
            "when": "2026-11-20T07:00:00+00:00",
            "days": 9.1,
            "who": "Ada Lovelace <ada@example.org>",
            "reason": "better on new customers, and fairer to those who came in spring",
            "model_type": "hist_gradient_boosting",
            "commit": "a" * 40,
            "lost": "",
            "logged": "",
        },
        "performance": {
            "metric": "balanced_accuracy",
            "test": {"value": 0.72963, "low": 0.7012, "high": 0.7581, "baseline": 0.5, "rows": 1200},
            "realised": {"value": 0.7155, "rows": 704},
            "estimated": None,
        },
        "drift": {"verdict": VERDICT, "alarm": True, "retraining": True, "days": 0.4, "current": True},
        "incidents": {"open": OPEN},
        "canary": {
            "running": False,
            "ran": True,
            "route": {
                "mode": "canary",
                "described": ROUTE,
                "since": "2026-11-28T05:00:00+00:00",
                "requests": 12345,
                "waits_for": "",
            },
        },
        "retraining": {
            "outcome": "unfinished",
            "step": "merge",
            "days": 0.3,
            "awaited": "",
            "branch": "a",
            "merged": False,
        },
        "stale": {
            "stages": ["data/incoming.dvc", "prepare", "train", "monitor"],
            "never": False,
            "incoming": True,
            "absent": [],
            "pull": False,
        },
        "model": {
            "passed": True,
            "failed": [],
            "committed": True,
            "version": None,
            "days": 40.2,
            "oldest_days": 30.0,
            "enforced": True,
        },
        "git": {"commit": "b" * 40, "branch": "main", "changed": 3, "conflicts": [], "unpushed": 2, "remote": "origin"},
        "unpushed": {"objects": 5},
    }
    told = {name: {"available": True, **known[name], **changed.get(name, {})} for name in known}
    told = {"project": "customer-churn", "at": "2026-11-29T07:00:00+00:00", **told}
    return {**told, "next": status.to_do(told)}


def fits(lines: list[str]) -> bool:
    return len(lines) <= 24 and max(map(len, lines)) <= 80


def commands(told: dict[str, Any]) -> list[str]:
    return [step["command"] for step in told["next"]]


def test_the_screen_fits_on_a_terminal_when_much_goes_on() -> None:
    lines = screen.text(facts())

    assert fits(lines), "\n".join(lines)
    endless = {"retraining": {"awaited": "an approval " * 9}, "stale": {"stages": ["data/incoming.dvc"] * 20}}
    assert fits(screen.text(facts(**endless, model={"failed": ["worst_group"] * 3, "passed": False})))
    shown = "\n".join(lines)
    for words in (
        *(
            "version 3",
            "commit aaaaaaaa",
            "9 days ago, by Ada Lovelace",
            "0.7296 (0.7012 to 0.7581)",
            "baseline 0.5000",
            "0.7155 on the newest delivery",
        ),
        *(
            "Retraining failed (critical, told 2026-11-28)",
            "canary, step 2 of 3",
            "stopped after merge",
            "(limit 30 days)",
        ),
    ):
        assert words in re.sub(r"\s+", " ", shown), shown


def test_a_wide_terminal_is_used_and_a_narrow_one_has_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", SimpleNamespace(isatty=lambda: True))
    for columns, room in (("200", 200), ("40", 80)):
        monkeypatch.setenv("COLUMNS", columns)
        assert screen.room() == (room, True)
    lines = screen.text(facts(), 200)
    assert 80 < max(map(len, lines)) <= 200
    assert not any("…" in line.replace('"…"', "") for line in lines)


def test_what_to_do_next_comes_in_its_order_and_each_command_once() -> None:
    told = facts()

    assert commands(told) == [
        "python -m mlops retrain",
        "dvc add data/incoming && dvc repro",
        "git add --all && git commit",
        "dvc push",
        "git push",
        "python -m mlops sync",
        'python -m mlops approve 4 --reason "…"',
    ]
    assert told["next"][0]["why"] == "Retraining is recommended"


@pytest.mark.parametrize(
    ("changed", "first"),
    [
        ({"incidents": {"open": []}, "stale": {"absent": ["data/raw"], "pull": True}}, "dvc pull"),
        ({"incidents": {"open": []}, "stale": {"never": True}}, "dvc repro"),
        ({"incidents": {"open": []}, "stale": {"stages": []}}, "python -m mlops retrain"),
        (
            {
                "incidents": {"open": []},
                "stale": {"stages": []},
                "retraining": {"outcome": None},
                "git": {"changed": 2, "moved": ["before"]},
            },
            "ls -A before",
        ),
    ],
)
def test_what_stops_all_else_comes_first(changed: dict[str, Any], first: str) -> None:
    assert commands(facts(**changed))[0] == first


def test_of_a_project_in_order_nothing_is_left_to_do() -> None:
    calm = {
        "incidents": {"open": []},
        "drift": {"alarm": False, "retraining": False, "verdict": "0 of 19 features drifted"},
        "stale": {"stages": []},
        "retraining": {"outcome": None},
        "git": {"changed": 0, "unpushed": 0},
        "unpushed": {"objects": 0},
        "model": {"version": "3", "days": 3.0},
        "registry": {"versions": []},
    }

    told = facts(**calm)

    assert told["next"] == []
    assert screen.text(told)[-1] == "Next: nothing, all is as it should be"
    merged = {**calm, "retraining": {"outcome": "proposed", "branch": "retrain/a", "merged": False, "awaited": ""}}
    assert commands(facts(**merged)) == ["git merge retrain/a"]


def test_every_part_can_be_missing_and_the_others_are_shown() -> None:
    told = facts()
    for name in [name for name in told if isinstance(told[name], dict)]:
        told[name] = GONE
    told["next"] = status.to_do(told)

    lines = screen.text(told)

    assert fits(lines)
    assert sum("not available: it is out of order" in line for line in lines) == 9
    assert commands(told) == ["python -m mlops doctor"]


def test_the_page_escapes_what_people_wrote(tmp_path: Path) -> None:
    told = facts(production={"reason": "<script>alert(1)</script>", "who": "Ada & Bob"})
    rows = [{"label": label, "words": words, "look": look} for label, words, look in screen.lines_of(told)]

    pages.write_page(tmp_path / "status.html", "status.html", facts=told, rows=rows)

    page = (tmp_path / "status.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "Ada &amp; Bob" in page
    assert "<script" not in page
    assert not re.search(r"""(?:src|href)=["']?https?:""", page)
    assert "prefers-color-scheme: dark" in page


def test_the_route_is_read_from_disk_without_a_change_and_from_a_server_with_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert routes.on_disk(tmp_path) is None
    with state.opened(tmp_path) as connection:
        route = routing.Route("r1", "canary", champion="1", challenger="2", steps=(0.1, 0.5))
        state.change(connection, route, who="Ada", reason="better", at=1_000_000_000)
    before = (tmp_path / state.FILE).read_bytes()
    there = routes.on_disk(tmp_path)
    answer = {
        "route": {"mode": "ab"},
        "described": "half and half",
        "requests": {"0": {"champion": 3, "challenger": 2}},
        "changed": [{"at": "2026-11-28T05:00:00.123+00:00", "who": "Ada", "reason": "try"}],
        "waits_for": "",
    }
    with serving({routes.PLACE: (200, answer)}) as url:
        asked = routes.of_server(url, {routes.KEY: "a-key-for-admins"})
        with pytest.raises(Exception, match=r"MLOPS_ADMIN_KEY is not set"):
            routes.of_server(url, {})
    with pytest.raises(Exception, match="cannot be reached"):
        routes.of_server(url, {routes.KEY: "a-key-for-admins"})

    assert there is not None
    assert there["described"].startswith("canary, step 1 of 2: version 2 answers 10 %")
    assert (there["since"], there["who"]) == ("2001-09-09T01:46:40+00:00", "Ada")
    assert (tmp_path / state.FILE).read_bytes() == before
    assert (asked["described"], asked["requests"]) == ("half and half", 5)


def test_a_project_without_any_result_and_without_a_registry_is_shown(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.path / "dvc.lock").unlink()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    Journal({}, "0" * 40, outcome={"outcome": "proposed", "branch": "retrain/a", "commit": ""}).write()
    files.write_json(
        Path(".mlops/alerts.json"),
        {
            "retraining": {
                "told": {"log": {"level": 2, "fact": "", "at": "2026-11-01T00:00:00+00:00"}},
                "level": 2,
                "checked": now().timestamp(),
                "numbers": {},
            }
        },
    )
    began = time.monotonic()

    done = CliRunner().invoke(app, ["status", "--json"])

    told = json.loads(done.stdout)
    assert done.exit_code == 0
    assert time.monotonic() - began < status.DEADLINE
    assert not told["registry"]["available"]
    assert "cannot be reached" in told["registry"]["why"]
    assert told["incidents"]["open"][0]["title"] == "Retraining failed"
    assert [one["command"] for one in told["next"]][:4] == [
        *("python -m mlops retrain", "dvc repro", "git merge retrain/a", "git add --all && git commit")
    ]
    lines = CliRunner().invoke(app, ["status"]).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)  # this is no terminal
    monkeypatch.setenv("COLUMNS", "200")
    assert max(map(len, CliRunner().invoke(app, ["status"]).stdout.splitlines())) > 80


def line_of(told: dict[str, Any], label: str) -> str:
    """The words of one line."""
    return {name: words for name, words, _ in screen.lines_of(told)}[label]


def test_results_of_another_model_than_the_one_in_production_say_whose_they_are() -> None:
    other = facts(production={"model_digest": "d3"}, model={"digest": "d4"})
    same = facts(production={"model_digest": "d3"}, model={"digest": "d3"})

    for label in ("Performance", "Drift"):
        assert line_of(other, label) == f"of the model here, not of version 3: {line_of(same, label)}"
    assert fits(screen.text(other))


def test_a_delivery_that_was_not_watched_yet_is_told_and_does_not_end_the_incident(project: Project) -> None:
    late = facts(drift={"current": False})
    assert line_of(late, "Drift").startswith("of the delivery before; the newest was not watched yet: 7 of 19")
    assert "0.7155 on the delivery before" in line_of(late, "Performance")
    report = {"verdict": VERDICT, "alarm": True, "retraining": {"recommended": True}, "delivery": None}
    project.write("params.yaml", {"monitor": {"windows": 1, "needed": 1}})
    project.write("reports/drift.json", {**report, "features": {}})  # of no delivery that is here

    [incident] = status._incidents()["open"]

    assert (incident["name"], incident["level"]) == ("drift", "critical")


def test_a_model_that_the_gate_refused_is_looked_at_and_nothing_is_proposed_for_production() -> None:
    refused = facts(
        incidents={"open": []}, stale={"stages": []}, model={"passed": False, "failed": ["worst_group"], "days": 1.0}
    )

    assert refused["next"][0] == {
        "command": "less reports/model_card.md",
        "why": "the gate refused the model here (worst_group): mend it, or the rule",
    }
    assert not re.search("approve|promote|sync", " ".join(commands(refused)))


@pytest.mark.parametrize(
    ("running", "ran", "answering", "words"),
    [
        (True, True, "3", "running here: version 3 answers, no canary"),
        (True, True, "", "running here, no canary"),
        (False, True, "3", "none runs here, no canary"),
        (False, False, "", "none has run here, no canary"),
    ],
)
def test_a_server_without_a_canary_runs_ran_or_never_ran(running: bool, ran: bool, answering: str, words: str) -> None:
    told = facts(canary={"route": None, "running": running, "ran": ran, "answering": answering})

    assert line_of(told, "Server") == words


CALM: dict[str, Any] = {
    "incidents": {"open": []},
    "drift": {"alarm": False, "retraining": False},
    "stale": {"stages": []},
    "retraining": {"outcome": None},
    "git": {"changed": 0, "unpushed": 0},
    "unpushed": {"objects": 0},
    "model": {"version": "4", "days": 3.0, "digest": "d4"},
    "production": {"model_digest": "d3"},
    "canary": {"route": None},
    "registry": {"approval": "off"},
}
REVERT = "git revert --no-edit cccccccc && dvc checkout"


def calm(server: dict[str, str] | None = None, **changed: dict[str, Any]) -> dict[str, Any]:
    """The facts of a project in which version 4 is checked out and waits for nothing, some of them changed."""
    told = facts(**{name: {**CALM.get(name, {}), **changed.get(name, {})} for name in {**CALM, **changed}})
    told["server"] = server or {"url": "", "option": ""}
    return {**told, "next": status.to_do(told)}


def test_a_version_that_was_rolled_back_is_reverted_and_not_promoted() -> None:
    [newest] = calm()["registry"]["versions"]
    back = "rolled back on 2026-11-28 by Ada (more errors)"
    known = {"versions": [{**newest, "rolled_back": back}]}
    told = calm(registry=known, model={"rolled_back": back, "revert": REVERT}, incidents={"open": OPEN[:1]})

    assert commands(calm()) == ['python -m mlops promote 4 --reason "…"']
    assert commands(told) == [REVERT, "python -m mlops monitor history"]
    assert back in told["next"][0]["why"]
    assert told["next"][1]["why"] == "Retraining is recommended (by the model here, not by version 3)"
    assert line_of(told, "Model here").startswith(f"gate passed, version 4 ({back})")
    assert line_of(told, "Incidents").endswith("of the model here, not of version 3)")
    assert commands(calm(registry=known, model={"version": "3", "digest": "d3"})) == []  # it was reverted


@pytest.mark.parametrize(
    ("action", "stage", "words"),
    [
        ("reject", "candidate", "rolled back on 2026-11-20 by Ada (more errors)"),
        ("", "rejected", "rolled back by its canary"),
        ("", "candidate", ""),
    ],
)
def test_the_log_or_the_stage_says_that_a_canary_rolled_a_version_back(action: str, stage: str, words: str) -> None:
    candidate = version("4", "challenger")
    candidate = replace(candidate, tags={**candidate.tags, registry.STAGE: stage})
    reason = "version 4 was rolled back, more errors"
    entry = {**promotion("4"), "action": action, "to": "3", "reason": reason, "number": 2}

    assert status._rolled_back([promotion("3"), entry] if action else [], candidate) == words


URL = {"url": "https://models.invalid", "option": ""}
TRIED = {"mode": "canary", "described": ROUTE, "since": "", "requests": 0, "waits_for": "", "challenger": "4"}


@pytest.mark.parametrize(
    ("server", "changed", "command"),
    [
        (None, {"canary": {"route": TRIED, "running": True}}, "python -m mlops serving status"),
        (None, {"canary": {"route": TRIED, "running": False}}, "python -m mlops serve"),
        (URL, {"canary": {"route": TRIED, "running": True}}, "python -m mlops deliver"),
        (URL, {}, "python -m mlops deliver"),
        ({**URL, "option": " --url a"}, {}, "python -m mlops deliver --url a"),
        (
            URL,
            {"model": {"version": "3", "digest": "d3"}},
            'python -m mlops serving route canary --challenger 4 --reason "…"',
        ),
    ],
)
def test_where_a_server_tries_versions_none_is_promoted_past_it(
    server: dict[str, str] | None, changed: dict[str, Any], command: str
) -> None:
    assert commands(calm(server, **changed)) == [command]


def test_a_server_that_is_configured_and_does_not_answer_is_the_first_to_look_at() -> None:
    told = {**calm(URL), "canary": {"available": False, "why": "https://models.invalid cannot be reached"}}
    first = status.to_do(told)[0]

    assert (first["command"], "cannot be reached" in first["why"]) == ("python -m mlops serving status", True)
    told["canary"]["why"] = f"{routes.KEY} is not set"
    assert status.to_do(told)[0]["command"] == f"export {routes.KEY}=…"


@pytest.mark.parametrize(
    ("git", "expected"),
    [
        ({"conflicts": ["dvc.lock"], "changed": 3}, ["python -m mlops resolve"]),
        ({"marks": {"dvc.lock": "python -m mlops resolve"}, "changed": 3}, ["python -m mlops resolve"]),
        ({"begun": [{"what": "a merge", "command": "git merge --continue"}], "changed": 3}, ["git merge --continue"]),
    ],
)
def test_nothing_is_committed_before_a_merge_is_resolved(git: dict[str, Any], expected: list[str]) -> None:
    assert commands(calm(git=git, registry={"versions": []})) == expected


def test_merge_marks_in_dvc_lock_are_resolved_and_nothing_else_is_proposed(project: Project) -> None:
    project.write("dvc.lock", "<<<<<<< HEAD\na\n=======\nb\n>>>>>>> other\n")

    assert commands(status.gather(now())) == ["python -m mlops resolve"]


def test_files_that_are_only_gone_or_damaged_are_not_recorded_as_a_loss(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = project.path / "data" / "raw" / "a.csv"
    text, place = file.read_text(), cache.path_of(cache.md5(file))
    file.unlink()
    monkeypatch.setattr(storage, "stale", lambda seconds: ["data/raw.dvc", "look"])
    gone = status.gather(now())
    place.write_text("key,churn\n1,No\n")
    monkeypatch.setattr(storage, "stale", lambda seconds: place.unlink())  # as DVC does
    broken = status.gather(now())

    assert gone["next"][0]["command"] == "dvc checkout data/raw"
    assert "(if that was meant: `dvc add data/raw && dvc repro`)" in gone["next"][0]["why"]
    assert line_of(gone, "Pipeline").startswith("gone: data/raw/a.csv")
    assert broken["next"][0] == {"command": "python -m mlops doctor", "why": "damaged in DVC's cache: data/raw"}
    assert place.is_file()
    assert text != place.read_text()


def test_a_clone_whose_remote_is_not_there_is_told_to_name_it(project: Project) -> None:
    for folder in (project.storage, project.path / ".dvc" / "cache", project.path / "data" / "raw"):
        remove(folder)
    cache.folder.cache_clear()

    told = status.gather(now())

    first, *others = commands(told)
    assert first == "dvc remote modify --local storage url PATH && dvc pull"
    assert "nor is the remote storage" in told["next"][0]["why"]
    assert "dvc push" not in others
    assert "the remote storage of DVC is not there" in line_of(told, "Git, DVC")


def test_a_model_that_passed_earlier_and_is_refused_now_is_said_to_be_the_same() -> None:
    refused = calm(model={"version": "1", "passed": False, "failed": ["behaviour"]})

    words = "gate FAILED (behaviour), the same model is version 1, which passed with an earlier result"
    assert line_of(refused, "Model here").startswith(words)


@pytest.mark.parametrize(
    ("value", "words"), [(0.82, "0.8200"), (0.7975, "0.7975"), (12.5, "12.50"), (12345.6, "12,346"), (None, "–")]
)
def test_figures_have_four_digits(value: float | None, words: str) -> None:
    assert screen._number(value) == words


def version(number: str, *aliases: str) -> registry.Version:
    """A version whose model is known by its number."""
    return registry.Version(number, aliases, "", "", "", {"model_digest": f"of {number}", "commit": number * 40})


def promotion(number: str) -> dict[str, Any]:
    """The entry of a promotion."""
    facts = {"when": "2026-11-20T07:00:00+00:00", "who": "Ada", "reason": f"why {number}", "commit": number * 40}
    return ledger.linked({**facts, "action": "promote", "from": None, "to": number, "model_digest": f"of {number}"}, [])


def test_an_alias_that_was_moved_outside_of_the_log_is_told_without_the_words_of_another_version(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "read", lambda uri, name: ([version("3"), version("1", "champion")], [promotion("3")]))

    told = status.gather(now())
    [finding] = bad(stored.check)

    line = line_of(told, "In production")
    assert line == "version 1, commit 11111111, by its alias; the log says version 3 (see `audit verify`)"
    assert {told["production"][name] for name in ("when", "who", "reason")} == {""}
    assert commands(told)[0] == finding.command == "python -m mlops audit verify"
    assert finding.sentence == "the alias champion is at version 1, and the log says that version 3 is in production"
    monkeypatch.setattr(stored, "read", lambda uri, name: ([version("3", "champion")], [promotion("3")]))
    assert bad(stored.check) == []
    assert status.gather(now())["production"]["reason"] == "why 3"
    monkeypatch.setattr(stored, "read", lambda uri, name: ([version("1")], [promotion("3")]))
    assert commands(status.gather(now()))[0] == bad(stored.check)[0].command == "export MLFLOW_TRACKING_URI=…"
    assert "which is not in this registry (another registry has other numbers): set" in bad(stored.check)[0].sentence


def test_a_registry_that_is_gone_is_told_by_the_copy_of_its_log_in_git(project: Project) -> None:
    remove(project.path / "mlflow.db")
    assert bad(stored.check) == []
    audit.write_copy([promotion("3")])
    out = {"path": "models/model.joblib", "md5": "0" * 32}
    project.write("dvc.yaml", {"stages": {"train": {"cmd": "true", "outs": ["models/model.joblib"]}}})
    project.write("dvc.lock", {"schema": "2.0", "stages": {"train": {"cmd": "true", "outs": [out]}}})
    back = "python -m mlops sync && python -m mlops audit restore"
    assert commands(status.gather(now()))[:2] == ["dvc pull", back]
    assert bad(stored.check)[0].command == f"dvc pull && {back}"
    project.git("checkout", "--quiet", "HEAD", "--", "dvc.yaml", "dvc.lock")

    told = status.gather(now())
    [finding] = bad(stored.check)

    line = line_of(told, "In production")
    assert "the copy of its log in Git says version 3: `sync` and `audit restore` bring it back" in line
    assert commands(told)[0] == finding.command == "python -m mlops sync && python -m mlops audit restore"
    assert (finding.state, "version 3 is in production" in finding.sentence) == ("fault", True)


# ---- For real: the quick project with two versions, one of them in production


@pytest.fixture(scope="module")
def real(stricter: BakedProject, tmp_path_factory: pytest.TempPathFactory) -> Team:
    """A project whose second version is in production, committed and pushed; as `promote` does it, in one session."""
    team = Team(bake_copy(stricter, tmp_path_factory.mktemp("real")), None)
    path, head = team.project.path, succeeds(team.project, "git", "rev-parse", "HEAD").strip()
    with chdir(path), pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with registry.opened("") as client:
            client.set_model_version_tag(team.name, "2", "commit", head)
            newest, *_ = known = registry.versions(client, team.name)
            facts = audit.facts("promote", newest, None, "stricter, and no worse", "Rita <rita@localhost>")
            audit.write_copy(audit.append(client, team.name, facts, newest, []))
            registry.set_champion(client, team.name, newest, known)
    commit(team.project, "Promote version 2")
    shutil.copytree(path / ".dvc" / "cache" / "files", storage_of(path) / "files", dirs_exist_ok=True)  # pushed
    return team


def test_a_real_project_in_order_is_healthy_and_its_status_tells_what_is_in_production(real: Team) -> None:
    rita = real("rita")
    files_before = rita.files

    healthy = json.loads(rita.call("doctor", "--json").stdout)
    told = json.loads(answers(rita, "status", "--json"))
    lines = screen.text(told)

    assert (healthy["faults"], healthy["warnings"]) == (0, 0), healthy["findings"]
    production = told["production"]
    assert (production["version"], production["who"]) == ("2", "Rita <rita@localhost>")
    assert production["reason"] == "stricter, and no worse"
    assert told["stale"]["stages"] == []
    assert told["performance"]["realised"]["rows"] == 300
    assert told["drift"]["current"]
    assert told["next"] == []
    assert fits(lines), "\n".join(lines)
    assert rita.files == files_before


def test_the_registry_is_read_as_mlflow_reads_it_from_the_file_and_from_a_server(
    real: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(real.project.path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    name = real.name
    with registry.opened("") as client:
        by_mlflow = registry.versions(client, name), audit.read(client, name)
        models = {each.name: each for each in client.search_registered_models()}
        several = {each: registry.search_versions(client, f"name = '{each}'") for each in models}

    assert stored.read("", name) == by_mlflow
    assert stored.read("", "another") == ([], [])
    assert [entry["action"] for entry in by_mlflow[1]] == ["promote"]
    assert by_mlflow[0][0].aliases == ("challenger", "champion")

    def of_model(path: str) -> tuple[int, Any]:
        """What MLflow's server answers (its REST API, `registered-models/get` and `model-versions/search`)."""
        asked = parse_qs(urlsplit(path).query)
        if path.startswith(f"{API}/registered-models/get"):
            model = models[asked["name"][0]]
            aliases = [{"alias": alias, "version": str(number)} for alias, number in model.aliases.items()]
            return 200, {"registered_model": {"aliases": aliases}}
        found = several[asked["filter"][0].split("'")[1]]
        told = [
            {
                "version": str(one.version),
                "creation_timestamp": one.creation_timestamp,
                "run_id": one.run_id,
                "source": one.source,
                "tags": [{"key": key, "value": value} for key, value in one.tags.items()],
            }
            for one in found
        ]
        page = int(asked.get("page_token", ["0"])[0] or 0)  # one version a page
        return 200, {
            "model_versions": told[page : page + 1],
            **({"next_page_token": str(page + 1)} if told[page + 1 :] else {}),
        }

    with serving(of_model) as url:
        assert stored.read(url, name) == by_mlflow


def test_fix_mends_what_is_safe_and_touches_nothing_else(real: Team, tmp_path: Path) -> None:
    project = Team(bake_copy(real.project, tmp_path), None)("rita")
    shutil.rmtree(project.path / "reports" / "plots")
    lost = project.path / "data" / "prepared" / "test.parquet"
    lost.unlink()
    left = [f".retrain/clones/{DEAD}/a.txt", f"reports/.metrics.json.{DEAD}.part", ".dvc/tmp/rwlock"]
    for name in left:
        (project.path / name).parent.mkdir(parents=True, exist_ok=True)
    for name in left[:2]:
        (project.path / name).write_text("half")
        os.utime(project.path / name, (now().timestamp() - 2 * 86_400,) * 2)
    (project.path / left[2]).write_text(json.dumps({"read": {"a": [{"pid": DEAD, "cmd": "dvc"}]}}))
    edited = project.path / "mlops" / "base" / "names.py"
    edited.write_text(edited.read_text() + "# mine\n")
    before = {name: (project.path / name).read_bytes() for name in project.files}

    done = json.loads(project.call("doctor", "--fix", "--json").stdout)

    after = {name: (project.path / name).read_bytes() for name in project.files}
    assert len(done["repairs"]) == 4
    assert not any(one["failure"] for one in done["repairs"])
    assert lost.is_file()
    own = {name for name in {*before, *after} if not name.startswith((".dvc/tmp", ".dvc/cache"))}
    assert {name for name in own if before.get(name) != after.get(name)} == {*left[:2], "data/prepared/test.parquet"}
    assert [one["figures"] for one in done["findings"] if one["subject"] == "machinery"] == [{"file": "base/names.py"}]
