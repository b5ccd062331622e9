"""The command `doctor`: exit codes, repairs, servers, and that no secret is ever printed."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from mlops.__main__ import app
from mlops.base import environment
from mlops.health import credentials, doctor, probes, storage, tracking
from typer.testing import CliRunner, Result

from tests.mlops.health.conftest import Project, bad, found, now

# Each is made of two parts, so that no scanner of secrets takes this file for one that has them.
AWS, GITHUB = "AKIA" + "7Q2M4X9ZR3W8LK5T", "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
SLACK = "T0AB1X/B0CD2Y/" + "x9y8z7w6v5u4"
PLANTED = {
    "AWS_SECRET_ACCESS_KEY": "wJalr+XUtnFEMI/K7MDENG9bPxRfiCYzq",
    "MLFLOW_TRACKING_PASSWORD": "tracking-pass-4711",
    "MLOPS_SMTP_URL": "smtp://ada:mail-pass-0815@mail.invalid:587",
    "MLOPS_ADMIN_KEYS": "ada:admin-key-99887766",
}
SECRETS = [
    *("wJalr+XUtnFEMI/K7MDENG9bPxRfiCYzq", "tracking-pass-4711", "mail-pass-0815", "admin-key-99887766"),
    *("hunter2hunter2", "local-secret-1234", AWS, GITHUB, "x9y8z7w6v5u4", "sommerzeit"),
]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def told(*arguments: str) -> Any:
    return json.loads(run("doctor", "--json", *arguments).stdout)


@pytest.fixture
def planted(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with secrets in the environment, in private files, and in files where they must not be."""
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    project.write(".dvc/config.local", "['remote \"web\"']\n    password = local-secret-1234\n")
    (project.path / ".dvc" / "config.local").chmod(0o644)
    uri = "postgresql://ml:sommerzeit@db.invalid/mlflow"
    project.write("params.yaml", {"tracking": {"uri": uri}, "alerts": {"channels": ["email"], "email_to": ["a@b.c"]}})
    project.write("README.md", "export PASSWORD=tracking-pass-4711\nsmtp://user:password@mail.example.org\n")
    project.write("project/load.py", f'KEY = "{AWS}"\nTOKEN = "{GITHUB}"\n')
    project.write("deploy/hook.yaml", f"url: https://hooks.slack.com/services/{SLACK}\n")
    project.write("notes.txt", "redis://:hunter2hunter2@cache:6379 and admin-key-99887766\n")
    other = "['remote \"web\"']\n    url = webdavs://dav.invalid/data\n    password = local-secret-1234\n"
    project.write(".dvc/config", (project.path / ".dvc" / "config").read_text() + other)
    project.commit("Secrets everywhere")
    return project


def test_secrets_in_tracked_files_are_found_by_file_and_line_and_are_in_no_output(
    planted: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(credentials, "MOST_SHOWN", 100)
    findings = [one for one in bad(credentials.check) if "file" in one.figures]
    places = {(one.figures["file"], line) for one in findings for line in one.figures["lines"]}
    outputs = [run(*command) for command in (("doctor",), ("doctor", "--json"), ("status",), ("status", "--json"))]
    page = tmp_path / "status.html"
    outputs.append(run("status", "--html", str(page)))

    assert places == {
        *(("params.yaml", 2), ("README.md", 1), ("project/load.py", 1), ("project/load.py", 2)),
        *(("deploy/hook.yaml", 1), ("notes.txt", 1), (".dvc/config", 8)),
    }
    printed = "".join(one.output for one in outputs) + page.read_text(encoding="utf-8")
    assert "project/load.py, line 1, has an AWS access key" in " ".join(printed.split())
    assert [secret for secret in SECRETS if secret in printed] == []
    assert all(isinstance(one.exception, SystemExit | None) for one in outputs)


def test_a_variable_with_the_word_pat_has_a_secret_and_a_path_has_none() -> None:
    given = {"GITHUB_PAT": "of-github-1", "MY_PAT_2": "of-mine-22", "PYTHONPATH": "lib-of-ada", "PATTERN": "spring-24"}

    assert credentials.known(given) == {"of-github-1", "of-mine-22"}


def test_a_private_file_is_made_private_and_one_in_git_is_a_fault(planted: Project) -> None:
    local = planted.path / ".dvc" / "config.local"
    planted.git("add", "--force", ".dvc/config.local")

    states = [(one.state, one.command) for one in bad(credentials.check) if ".dvc/config.local" in one.sentence]
    planned = told("--fix", "--dry-run")["planned"]

    assert [state for state, _ in states] == ["fault", "warning"]
    assert planned == ["chmod 600 .dvc/config.local"]
    assert local.stat().st_mode & 0o777 == 0o644
    assert told("--fix")["repairs"] == [{"repair": "chmod 600 .dvc/config.local", "failure": ""}]
    assert local.stat().st_mode & 0o777 == 0o600


def test_what_is_configured_is_told_whether_it_finds_its_credentials(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = project.path / ".dvc" / "config"
    config.write_text(config.read_text().replace("../../storage", "s3://bucket/data"))
    project.write("params.yaml", {"tracking": {"uri": "https://mlflow.invalid"}, "alerts": {"channels": ["slack"]}})
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "MLFLOW_TRACKING_PASSWORD", "MLOPS_ALERT_SLACK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    missing = [one.sentence for one in bad(credentials.check)]

    assert "finds no credentials" in missing[0]
    assert "MLFLOW_TRACKING_PASSWORD is not" in missing[1]
    assert "the environment lacks MLOPS_ALERT_SLACK" in missing[2]
    monkeypatch.setenv("AWS_PROFILE", "team")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "of-ada-123")
    monkeypatch.setenv("MLOPS_ALERT_SLACK", "https://hooks.example.org/T0/B0/a1b2c3d4")
    assert bad(credentials.check) == []


def test_the_exit_code_is_3_for_faults_and_0_for_warnings(project: Project) -> None:
    project.git("checkout", "--quiet", "--detach")
    warned = run("doctor")
    (project.path / "mlflow.db").write_text("broken")
    faulty = run("doctor")

    assert (warned.exit_code, faulty.exit_code) == (0, 3)
    assert "warning  Git          no branch is checked out" in warned.output
    assert "0 faults, 1 warning" in warned.output
    assert faulty.output.startswith("fault    registry     mlflow.db is damaged")
    assert run("doctor", "--fix").output.startswith("nothing was mended: what is named here, only a person can mend")
    assert "$ mv mlflow.db mlflow.db.broken && python -m mlops sync" in faulty.output


def test_outside_of_a_project_it_says_where_to_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    for command in ("doctor", "status"):
        assert "run this in the project's folder" in str(run(command).exception)


@pytest.mark.parametrize(
    ("package", "how", "command", "words"),
    [
        ("tqdm", "raise ModuleNotFoundError('no tqdm', name='tqdm')", "doctor", "tqdm is missing"),
        ("tqdm", "raise ModuleNotFoundError('no tqdm', name='tqdm')", "status", "tqdm is missing"),
        ("pydantic", "", "doctor", "cannot import name"),
        ("typer", "", "doctor", "typer.core is missing"),
    ],
)
def test_a_package_that_is_missing_or_broken_is_one_sentence_with_the_command_that_installs_it(
    project: Project, tmp_path: Path, package: str, how: str, command: str, words: str
) -> None:
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / f"{package}.py").write_text(f"{how}\n")
    places = (tmp_path / "packages", environment.LOCK.parent)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))}

    done = subprocess.run([sys.executable, "-m", "mlops", command], env=environ, capture_output=True, text=True)

    [sentence] = done.stderr.splitlines()
    assert done.returncode == 1
    assert sentence.startswith("Error: a package cannot be imported")
    assert words in sentence
    assert environment.install() in sentence


def test_a_check_that_fails_or_hangs_costs_the_others_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang = threading.Event()
    monkeypatch.setattr(doctor, "NETWORK_SECONDS", 0.3)
    monkeypatch.setattr(doctor, "DEADLINE", 20)
    monkeypatch.setitem(doctor.CHECKS, "registry", lambda now: iter([hang.wait()]))
    monkeypatch.setitem(doctor.CHECKS, "room", lambda now: iter([1 / 0]))
    try:
        several = told()["findings"]
    finally:
        hang.set()

    by_subject = {one["subject"]: one for one in several}
    assert by_subject["registry"]["state"] == "fault"
    assert by_subject["registry"]["sentence"] == "no answer within 0.3 s"
    assert by_subject["room"]["sentence"] == "could not be looked at: failed with ZeroDivisionError"
    assert by_subject["Git"]["state"] == "fine"


Answer = tuple[int, Any]
Answers = dict[str, Answer] | Callable[[str], Answer]


class Handler(BaseHTTPRequestHandler):
    """Answers as it was told to: by the path without what follows a question mark, or by a function of all of it."""

    def __init__(self, *arguments: Any, answers: Answers, ahead: float) -> None:
        self.answers, self.ahead = answers, ahead
        super().__init__(*arguments)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(time.time() + self.ahead, usegmt=True)

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        known = self.answers
        status, content = known(self.path) if callable(known) else known.get(self.path.partition("?")[0], (404, {}))
        body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_POST = do_HEAD = do_GET  # noqa: N815 – names of the base class

    def log_message(self, *arguments: Any) -> None:
        """A test prints nothing."""


@contextmanager
def serving(answers: Answers, ahead: float = 0) -> Iterator[str]:
    """The address of a server whose clock is so many seconds ahead."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, answers=answers, ahead=ahead))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


API = "/api/2.0/mlflow"


@pytest.fixture
def tracked(project: Project, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that names a tracking server."""
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME", raising=False)
    return lambda url: monkeypatch.setenv("MLFLOW_TRACKING_URI", url)


def test_a_tracking_server_is_asked_for_its_version_models_clock_and_unfinished_runs(
    tracked: Callable[[str], None],
) -> None:
    version = metadata.version("mlflow")
    run = {"info": {"run_id": "ab12", "start_time": int((now().timestamp() - 90_000) * 1000)}}
    answers: dict[str, Answer] = {
        "/version": (200, version),
        f"{API}/registered-models/search": (200, {}),
        f"{API}/experiments/get-by-name": (200, {"experiment": {"experiment_id": "1"}}),
        f"{API}/runs/search": (200, {}),
    }
    with serving(answers) as url:
        tracked(url)
        fine = found(tracking.check)
    late = {**answers, "/version": (200, "2.0.1"), f"{API}/runs/search": (200, {"runs": [run]})}
    with serving(late, ahead=-1000) as url:
        tracked(url)
        several = bad(tracking.check)
    with serving({**answers, f"{API}/registered-models/search": (401, {})}) as url:
        tracked(url)
        [refused] = bad(tracking.check)
    tracked(url)  # nobody is there any more
    [gone] = bad(tracking.check)

    assert [(one.subject, one.state) for one in fine] == [("registry", "fine"), ("clock", "fine")]
    assert fine[0].figures == {"server": version, "client": version}
    assert [(one.subject, one.state) for one in several] == [
        *(("registry", "warning"), ("clock", "fault"), ("registry", "warning"))
    ]
    assert "1,000 s ahead of" in several[1].sentence.replace("999 s", "1,000 s")
    assert "asks who this is" in refused.sentence
    assert (gone.state, "cannot be reached" in gone.sentence) == ("fault", True)


def test_a_remote_on_the_web_is_reached_and_its_clock_compared(project: Project) -> None:
    with serving({"/data": (200, "")}, ahead=120) as url:
        config = project.path / ".dvc" / "config"
        config.write_text(config.read_text().replace("../../storage", f"{url}/data"))

        assert [one.state for one in found(storage.check_remote)] == ["fine"]
        assert [(one.subject, one.state) for one in found(tracking.check_clock)] == [("clock", "warning")]


def test_no_redirect_is_followed_and_no_account_is_sent_along() -> None:
    with serving({"/version": (200, "elsewhere")}) as other:
        answer = probes.get(other.replace("http://", "http://ada:pass@") + "/version")
        assert answer.text == "elsewhere"
    with serving({"/version": (302, "moved")}) as url:
        assert probes.get(f"{url}/version").status == 302
    with pytest.raises(Exception, match=r"^(?!.*pass)"):
        probes.get("http://ada:pass@127.0.0.1:9/")
