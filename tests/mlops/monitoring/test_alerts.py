"""Alerts against real servers: what arrives, what comes once only, what fails, and what never shows."""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mlops.__main__ import app
from mlops.alerting import alerts, web
from mlops.alerting.alerts import Outcome, tell
from mlops.base import files, params
from mlops.base.errors import ParameterError, StoreError
from mlops.base.params import Alerts
from mlops.monitoring.incidents import Incident, Level
from typer.testing import CliRunner

from tests.mlops.monitoring import receivers
from tests.mlops.monitoring.receivers import Tracker, Web
from tests.mlops.monitoring.reports import deliver, report

NOW = datetime(2026, 3, 1, 2, tzinfo=UTC)
DRIFT = Incident("drift", Level.warning, "The deliveries drift", ("1 of 3 features drifted.",), "a", {"drifted": 1.0})
WORSE = replace(DRIFT, level=Level.critical, title="Retraining is recommended")
CALM = replace(DRIFT, level=Level.ok, title="The deliveries are stable", details=("0 of 3 features drifted.",))
PRIVATE = "s3cr3t"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, an environment that names no channel, and no pause between two attempts."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("MLOPS_", "GITHUB_", "GITLAB_", "CI_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(web, "PAUSES", (0, 0))
    return tmp_path


@pytest.fixture
def server() -> Iterator[Web]:
    with receivers.web() as running:
        yield running


def after(hours: float) -> datetime:
    return NOW + timedelta(hours=hours)


def only(outcomes: list[Outcome]) -> Outcome:
    [outcome] = outcomes
    return outcome


def test_a_webhook_gets_json_once(server: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_ALERT_WEBHOOK", f"{server.url}/hook/{PRIVATE}")
    settings = Alerts(channels=["webhook"])

    first, second = (only(tell(DRIFT, settings, "shop", now=after(hours))) for hours in (0, 48))

    assert (first, second.step) == (Outcome("webhook", "opened", failed=False, note="told (opened)"), None)
    assert server.requests == [
        (
            "POST",
            f"/hook/{PRIVATE}",
            {
                **{"project": "shop", "time": "2026-03-01T02:00:00+00:00", "step": "opened"},
                **{"name": "drift", "level": "warning", "title": DRIFT.title, "details": list(DRIFT.details)},
                **{"fact": "a", "numbers": {"drifted": 1.0}},
            },
        )
    ]
    assert PRIVATE not in alerts.STATE.read_text(encoding="utf-8")


def test_news_waits_for_the_cool_down_and_worse_or_better_news_does_not(
    server: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOPS_ALERT_WEBHOOK", server.url)
    settings = Alerts(channels=["webhook"], cooldown_hours=24)
    other = replace(DRIFT, fact="b")

    for incident, hours in ((DRIFT, 0), (other, 5), (other, 25), (WORSE, 26), (CALM, 27), (CALM, 60)):
        tell(incident, settings, "shop", now=after(hours))

    assert [content["step"] for _, _, content in server.requests] == ["opened", "again", "worse", "resolved"]


def test_two_incidents_do_not_hide_each_other(server: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_ALERT_WEBHOOK", server.url)
    failed = Incident("retraining", Level.critical, "Retraining failed", ("dvc repro failed.",), "run 7")

    for incident in (DRIFT, failed, CALM, failed):
        tell(incident, Alerts(channels=["webhook"]), "shop", now=NOW)

    said = [(content["name"], content["step"]) for _, _, content in server.requests]
    assert said == [("drift", "opened"), ("retraining", "opened"), ("drift", "resolved")]


def test_slack_gets_text_in_which_nothing_is_a_command(server: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_ALERT_SLACK", server.url)

    tell(replace(DRIFT, details=("<!channel> & co\ndrifted\x1b[31m",)), Alerts(channels=["slack"]), "shop", now=NOW)

    [(_, _, content)] = server.requests
    assert content == {"text": "*shop: The deliveries drift*\n&lt;!channel&gt; &amp; co drifted\\x1b[31m"}


@pytest.mark.parametrize(
    ("code", "attempts", "said"), [(503, 3, "answered 503"), (404, 1, "answered 404"), (302, 1, "answered 302")]
)
def test_a_server_that_fails_is_tried_again_if_that_may_help(
    server: Web, monkeypatch: pytest.MonkeyPatch, code: int, attempts: int, said: str
) -> None:
    monkeypatch.setenv("MLOPS_ALERT_WEBHOOK", f"http://ada:{PRIVATE}@{server.url[7:]}/{PRIVATE}?key={PRIVATE}")
    server.answer = lambda *_: (code, f"{server.url}/elsewhere")

    outcome = only(tell(DRIFT, Alerts(channels=["webhook"]), "shop", now=NOW))

    assert outcome.failed
    assert outcome.note == f"127.0.0.1 {said}"
    assert [path for _, path, _ in server.requests] == [f"/{PRIVATE}?key={PRIVATE}"] * attempts
    assert server.headers[0]["Authorization"].startswith("Basic ")
    assert PRIVATE not in alerts.STATE.read_text(encoding="utf-8")


def test_a_channel_that_failed_is_told_later_and_the_others_are_not_told_twice(
    server: Web, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLOPS_ALERT_WEBHOOK", server.url)
    settings = Alerts(channels=["log", "webhook"])
    server.answer = lambda *_: (400, None)
    failed = tell(DRIFT, settings, "shop", now=NOW)
    server.answer = lambda *_: (200, None)
    mended = tell(DRIFT, settings, "shop", now=after(1))

    assert {(each.channel, each.failed) for each in failed} == {("log", False), ("webhook", True)}
    assert {(each.channel, each.step, each.failed) for each in mended} == {
        ("log", None, False),
        ("webhook", "opened", False),
    }
    lines = capfd.readouterr().err.splitlines()
    assert lines == [
        "ALERT 2026-03-01T02:00:00+00:00 drift opened, warning: The deliveries drift: 1 of 3 features drifted."
    ]


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:1/{}", "file:///{}", "http://[{}", "{}", "http://localhost:{}/", "https://ü/{}"]
)
def test_an_address_that_leads_nowhere_is_told_without_it(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("MLOPS_ALERT_WEBHOOK", address.format(PRIVATE))

    outcome = only(tell(DRIFT, Alerts(channels=["webhook"]), "shop", now=NOW))

    assert outcome.failed
    assert PRIVATE not in outcome.note
    assert "could not be reached" in outcome.note or "is no web address" in outcome.note


@pytest.mark.parametrize(
    ("settings", "variable"),
    [
        (Alerts(channels=["webhook"]), "MLOPS_ALERT_WEBHOOK"),
        (Alerts(channels=["slack"]), "MLOPS_ALERT_SLACK"),
        (Alerts(channels=[], issue="github"), "GITHUB_API_URL"),
        (Alerts(channels=[], issue="gitlab"), "CI_API_V4_URL"),
    ],
)
@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://bob:{}@192.0.2.2/hook", "use https"),
        ("http://127.0.0.1.example.org/{}", "use https"),
        ("http://[::1%2e{}]/", "use https"),
        ("http://127.0.0.1:pw@192.0.2.2/{}", "use https"),
        ("ftp://127.0.0.1/{}", "is no web address"),
        ("https:///{}", "is no web address"),
        ("https://[::1/{}", "is no web address"),
        ("https://example.org:70000/{}", "is no web address"),
        ("https://example.org/{} x", "is no web address"),
    ],
)
def test_a_secret_goes_to_no_other_machine_without_encryption(
    server: Web, monkeypatch: pytest.MonkeyPatch, settings: Alerts, variable: str, address: str, said: str
) -> None:
    monkeypatch.setenv("http_proxy", server.url)  # would get whatever is sent to another machine
    for name in ("GITHUB_TOKEN", "GITLAB_TOKEN"):
        monkeypatch.setenv(name, PRIVATE)
    monkeypatch.setenv("GITHUB_REPOSITORY", "ada/shop")
    monkeypatch.setenv("CI_PROJECT_ID", "7")
    monkeypatch.setenv(variable, address.format(PRIVATE))

    with pytest.raises(ParameterError, match=f"{variable} .*{said}") as refused:
        alerts.require(settings)
    with pytest.raises(StoreError, match=said) as unsent:
        web.request(address.format(PRIVATE), {})
    outcome = only(tell(DRIFT, settings, "shop", now=NOW))

    assert outcome.failed
    assert PRIVATE not in f"{refused.value} {unsent.value} {outcome.note}"
    assert server.requests == []


def test_what_stays_on_this_machine_passes_no_proxy(server: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    with receivers.web() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        web.request(f"http://ada:{PRIVATE}@{server.url[7:]}/hook", {})

    assert [path for _, path, _ in server.requests] == ["/hook"]
    assert proxy.requests == []


@pytest.mark.parametrize("address", ["smtp://[::1", "smtp://example.org:70000", "https://example.org", "smtp://", "x"])
def test_an_address_that_is_none_of_a_mail_server_is_a_wrong_configuration(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("MLOPS_SMTP_URL", address)

    with pytest.raises(ParameterError, match="MLOPS_SMTP_URL is no address such as"):
        alerts.require(Alerts(channels=["email"], email_to=["a@b"]))


def test_an_address_with_encryption_or_on_this_machine_is_none_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_SMTP_URL", f"smtps://ada:{PRIVATE}@mail.example.org")
    for address in ("https://ada:a b@example.org/x", "http://127.8.9.1/", "http://[::1]:80/", "http://LOCALHOST:80"):
        monkeypatch.setenv("MLOPS_ALERT_WEBHOOK", address)
        alerts.require(Alerts(channels=["email", "webhook"], email_to=["a@b"]))


def test_a_server_that_never_ends_its_answer_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "DEADLINE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as slow:
        monkeypatch.setenv("MLOPS_ALERT_WEBHOOK", f"http://127.0.0.1:{slow.getsockname()[1]}")
        start = time.monotonic()

        outcome = only(tell(DRIFT, Alerts(channels=["webhook"]), "shop", now=NOW))

    assert outcome.note == "did not end within 0.3 s"
    assert time.monotonic() - start < web.TIMEOUT


def test_mail_comes_encrypted_where_the_server_offers_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trusted = receivers.certificate(place / "server.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    settings = Alerts(channels=["email"], email_to=["ada@example.org", "bob@example.org"])
    with receivers.mail(trusted) as server:
        monkeypatch.setenv("MLOPS_SMTP_URL", f"smtp://ada:{PRIVATE}%40@localhost:{server.port}")
        outcome = only(tell(replace(DRIFT, title="Größe\r\nBcc: eve@example.org"), settings, "shop", now=NOW))

    assert outcome.note == "told (opened)"
    assert server.encrypted == [True]
    assert server.logins == [f"\0ada\0{PRIVATE}@"]
    [message] = server.messages
    assert "To: ada@example.org, bob@example.org" in message
    assert "Auto-Submitted: auto-generated" in message
    assert "\nBcc:" not in message
    assert "1 of 3 features drifted." in message


def test_a_mail_server_that_is_busy_is_tried_again_and_one_that_refuses_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Alerts(channels=["email"], email_to=["ada@a.org", "bob@b.org"], email_from="shop@example.org")
    notes = []
    with receivers.mail() as server:
        monkeypatch.setenv("MLOPS_SMTP_URL", f"smtp://127.0.0.1:{server.port}")
        for refusals in (["550 no ada@a.org"] * 2, ["450 busy"] * 4, ["550 no ada@a.org"]):
            server.refusals = refusals
            notes.append(only(tell(DRIFT, settings, "shop", now=NOW)).note)
            alerts.STATE.unlink()
    notes.append(only(tell(DRIFT, settings, "shop", now=NOW)).note)

    assert notes == [
        "127.0.0.1 refused all recipients (2)",
        "told (opened)",
        "told (opened), but the mail server refused 1 of 2 recipients",
        "127.0.0.1 could not be reached: Connection refused",
    ]
    assert [("From: shop@example.org" in message) for message in server.messages] == [True, True]


def test_a_password_is_not_sent_unencrypted_to_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Alerts(channels=["email"], email_to=["ada@a.org"])
    monkeypatch.setattr(web, "is_here", lambda host: False)
    with receivers.mail() as server:
        monkeypatch.setenv("MLOPS_SMTP_URL", f"smtp://ada:{PRIVATE}@127.0.0.1:{server.port}")
        outcome = only(tell(DRIFT, settings, "shop", now=NOW))

    assert outcome.note == "127.0.0.1 offers no encryption, so the password was not sent"
    assert server.logins == server.messages == []


@pytest.mark.parametrize("platform", ["github", "gitlab"])
def test_an_incident_is_one_issue_that_is_updated_and_closed(
    server: Web, monkeypatch: pytest.MonkeyPatch, platform: str, place: Path
) -> None:
    tracker = Tracker(gitlab=platform == "gitlab")
    server.answer = tracker.answer
    environ = {
        "github": {"GITHUB_TOKEN": PRIVATE, "GITHUB_REPOSITORY": "ada/shop", "GITHUB_API_URL": f"{server.url}/api/"},
        "gitlab": {"GITLAB_TOKEN": PRIVATE, "CI_PROJECT_ID": "ada/shop", "CI_API_V4_URL": f"{server.url}/api"},
    }
    for name, value in environ[platform].items():
        monkeypatch.setenv(name, value)
    settings = Alerts(channels=[], issue=platform)
    notes = []

    mention = replace(WORSE, details=("@team drifted.",), fact="b")
    for incident in (CALM, DRIFT, DRIFT, mention, CALM, DRIFT):
        notes.append(only(tell(incident, settings, "shop", now=NOW)).note)
        alerts.STATE.unlink()  # as in CI, where each run is a new clone

    assert notes == [
        *("no issue is open", "opened issue 1", "issue 1 says so already", "updated issue 1"),
        *("closed issue 1", "opened issue 2"),
    ]
    first, second = tracker.issues
    assert [each["state"] for each in (first, second)] == ["closed", "opened" if tracker.gitlab else "open"]
    assert first["title"] == "shop: Retraining is recommended"
    assert first["description" if tracker.gitlab else "body"] == "`@team` drifted.\n\n<!-- mlops-alert: drift -->"
    assert len(tracker.comments) == 2  # worse, and all is well
    prefix = "/api/projects/ada%2Fshop/issues" if tracker.gitlab else "/api/repos/ada/shop/"
    assert all(path.startswith(prefix) for _, path, _ in server.requests)
    name, value = ("Private-Token", PRIVATE) if tracker.gitlab else ("Authorization", f"Bearer {PRIVATE}")
    assert {sent[name] for sent in server.headers} == {value}


def test_a_tracker_that_drops_the_label_is_told(server: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = Tracker(gitlab=False)
    server.answer = lambda method, path, content: (
        (403, {}) if path.endswith("/labels") else tracker.answer(method, path, content)
    )
    monkeypatch.setenv("GITHUB_TOKEN", PRIVATE)
    monkeypatch.setenv("GITHUB_REPOSITORY", "ada/shop")
    monkeypatch.setenv("GITHUB_API_URL", server.url)

    outcome = only(tell(DRIFT, Alerts(channels=[], issue="github"), "shop", now=NOW))

    assert outcome.note == "opened issue 1; it did not get the label mlops-alert, so the next alert will not find it"


def test_an_issue_whose_answer_is_lost_is_not_opened_twice(server: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answer = lambda method, *_: (200, []) if method == "GET" else (502, None)
    monkeypatch.setenv("GITLAB_TOKEN", PRIVATE)
    monkeypatch.setenv("CI_PROJECT_ID", "7")
    monkeypatch.setenv("CI_API_V4_URL", server.url)

    outcome = only(tell(DRIFT, Alerts(channels=[], issue="gitlab"), "shop", now=NOW))

    assert outcome.note == "127.0.0.1 answered 502"
    assert [method for method, _, _ in server.requests] == ["GET", "POST"]


def test_prometheus_gets_the_state_of_all_incidents(place: Path) -> None:
    settings = Alerts(channels=[], textfile="metrics/mlops.prom")

    tell(Incident("retraining", Level.critical, "Retraining failed", numbers={"runs": 2}), settings, 'a"b', now=NOW)
    tell(DRIFT, settings, 'a"b', now=after(1))

    text = (place / "metrics" / "mlops.prom").read_text(encoding="utf-8")
    assert 'mlops_alert_level{project="a\\"b",incident="drift"} 1.0\n' in text
    assert 'mlops_alert_level{project="a\\"b",incident="retraining"} 2.0\n' in text
    assert 'mlops_alert_runs{project="a\\"b",incident="retraining"} 2.0\n' in text
    assert (
        f'mlops_alert_checked_timestamp_seconds{{project="a\\"b",incident="drift"}} {after(1).timestamp()!r}\n' in text
    )
    assert text.count("# TYPE mlops_alert_level gauge\n") == 1
    from prometheus_client.parser import text_string_to_metric_families

    assert len(list(text_string_to_metric_families(text))) == 4
    assert [path.name for path in (place / "metrics").iterdir()] == ["mlops.prom"]


@pytest.mark.parametrize("broken", ["", "[]", '{"drift": 1}', '{"drift": {"told": {"log": {"level": 9}}}}', "[" * 9999])
def test_a_broken_memory_is_begun_anew(broken: str, capfd: pytest.CaptureFixture[str]) -> None:
    alerts.STATE.parent.mkdir()
    alerts.STATE.write_text(broken, encoding="utf-8")

    assert only(tell(DRIFT, Alerts(), "shop", now=NOW)).step == "opened"
    assert only(tell(DRIFT, Alerts(), "shop", now=NOW)).note == "told already"
    assert capfd.readouterr().err.count("ALERT") == 1


def test_a_memory_that_cannot_be_written_does_not_stop_the_alert(
    place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    alerts.STATE.parent.write_text("a file where the folder should be")

    outcomes = tell(DRIFT, Alerts(), "shop", now=NOW)

    assert [(each.channel, each.failed) for each in outcomes] == [("memory", True), ("log", False), ("memory", True)]
    assert "ALERT" in capfd.readouterr().err


def test_of_two_at_once_one_tells(server: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_ALERT_WEBHOOK", server.url)
    threads = [threading.Thread(target=tell, args=(DRIFT, Alerts(channels=["webhook"]), "shop")) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(server.requests) == 1


def test_a_dry_run_tells_nobody_and_remembers_nothing(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    outcome = only(tell(DRIFT, Alerts(), "shop", dry_run=True, now=NOW))

    assert (outcome.step, outcome.note) == ("opened", "would be told")
    assert list(place.iterdir()) == []
    assert capfd.readouterr().err == ""


def test_a_variable_that_is_missing_is_a_wrong_configuration_and_for_a_run_only_a_channel_that_fails() -> None:
    settings = Alerts(channels=["webhook", "email"], email_to=["a@b"], issue="github")

    with pytest.raises(ParameterError) as refused:
        alerts.require(settings)
    outcomes = tell(DRIFT, settings, "shop", now=NOW)

    for name in ("MLOPS_ALERT_WEBHOOK", "MLOPS_SMTP_URL", "GITHUB_TOKEN and GITHUB_REPOSITORY"):
        assert name in str(refused.value)
    assert [outcome.failed for outcome in outcomes] == [True] * 3


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("alerts: {channels: [email]}", "email_to names nobody"),
        ("alerts: {channels: [mail]}", "channels"),
        ("alerts: {email_to: ['a@b, c@d']}", "is no e-mail address"),
        ("alerts: {textfile: mlops.txt}", "must end with .prom"),
        ("monitor: {windows: 2, needed: 3}", "no alarm could come"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(place: Path, section: str, said: str) -> None:
    (place / params.FILE).write_text(section, encoding="utf-8")

    with pytest.raises(ParameterError, match=said):
        [params.load(kind) for kind in (params.Alerts, params.Monitor)]


def test_the_command_tells_the_newest_verdict_and_a_failing_channel_costs_no_exit_code(
    place: Path, server: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOPS_ALERT_WEBHOOK", f"{server.url}/{PRIVATE}")
    files.write_text(params.FILE, "alerts: {channels: [log, webhook]}\n")
    server.answer = lambda *_: (410, None)
    deliver(report("a", drifted=["age"], retraining=True))

    done, again = (CliRunner().invoke(app, ["alert", *options]) for options in ((), ("--json",)))

    assert (done.exit_code, again.exit_code) == (0, 0)
    assert done.stdout.splitlines() == ["Retraining is recommended: 1 of 3 features drifted", "log: told (opened)"]
    [line, failure] = done.stderr.splitlines()
    assert line.startswith("ALERT ")
    assert failure == "webhook: not told: 127.0.0.1 answered 410"
    told = json.loads(again.stdout)
    assert told["incident"]["level"] == "critical"
    assert {each["channel"]: each["failed"] for each in told["channels"]} == {"log": False, "webhook": True}
    assert PRIVATE not in done.output + again.output
    monkeypatch.delenv("MLOPS_ALERT_WEBHOOK")
    wrong = CliRunner().invoke(app, ["alert"])
    assert isinstance(wrong.exception, ParameterError)
