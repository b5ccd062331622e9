"""The generated CI files: their schema, their rights, and the scripts that write the review as a comment or retrain."""

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from ruamel.yaml import YAML

from tests.conftest import BakedProject, baked, generate, surroundings

FILES = {"github": ".github/workflows/ci.yml", "gitlab": ".gitlab-ci.yml"}
RETRAIN = ".github/workflows/retrain.yml"
DELIVER = ".github/workflows/deliver.yml"
PACKAGES = ".github/workflows/packages.yml"
SCHEMAS = {"github": "vendor.github-workflows", "gitlab": "vendor.gitlab-ci"}
MARKER = "<!-- python -m mlops review: every run updates this comment -->"
HOSTILE = "`touch canary` $(touch canary) ${{ github.token }} '; touch canary; \" 🎉 END\nEND\n"


@pytest.fixture(scope="module")
def projects(template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, BakedProject]:
    """A project for each host, to be looked at and not to be changed."""

    def bake(ci: str) -> BakedProject:
        folder = tmp_path_factory.mktemp(ci)
        return baked(generate(template, folder, setup="no", ci=ci), folder / "customer-churn")

    return {ci: bake(ci) for ci in FILES}


def definition(project: BakedProject, ci: str, file: str = "") -> dict[str, Any]:
    """The content of a CI file."""
    content: dict[str, Any] = YAML(typ="safe").load(project.read(file or FILES[ci]))
    return content


def commands(project: BakedProject, ci: str) -> list[str]:
    """Every shell line of every job."""
    content = definition(project, ci)
    if ci == "github":
        texts = [step["run"] for job in content["jobs"].values() for step in job["steps"] if "run" in step]
    else:
        jobs = [job for job in content.values() if isinstance(job, dict)]
        texts = [
            text for job in jobs for part in ("before_script", "script", "after_script") for text in job.get(part, [])
        ]
    return [line.strip() for text in texts for line in text.splitlines()]


# ---- the files


@pytest.mark.parametrize("persona", ["regular", "pedantic"])
def test_the_workflow_gives_zizmor_nothing_to_find(projects: dict[str, BakedProject], persona: str) -> None:
    done = projects["github"].run("zizmor", "--offline", f"--persona={persona}", ".github")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "No findings" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("ci", "files"), [("github", [FILES["github"], RETRAIN, DELIVER, PACKAGES]), ("gitlab", [FILES["gitlab"]])]
)
def test_the_ci_files_follow_the_published_schema_of_their_host(
    projects: dict[str, BakedProject], ci: str, files: list[str]
) -> None:
    done = projects[ci].run("check-jsonschema", "--builtin-schema", SCHEMAS[ci], *files)

    assert done.returncode == 0, done.stdout
    assert "ok" in done.stdout


def test_every_action_is_pinned_by_its_commit_and_names_its_version(projects: dict[str, BakedProject]) -> None:
    text = "".join(projects["github"].read(file) for file in (FILES["github"], RETRAIN, DELIVER, PACKAGES))
    used = re.findall(r"^ *-? *uses: *(.*)$", text, re.MULTILINE)

    assert len(used) > 7
    assert len({action.partition("@")[0] for action in used}) == len(set(used)), "one version of each"
    for action in used:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_the_workflow_runs_for_forks_without_rights_and_puts_no_text_of_others_into_a_script(
    projects: dict[str, BakedProject],
) -> None:
    content = definition(projects["github"], "github")
    writing = [name for name, job in content["jobs"].items() if "write" in job["permissions"].values()]

    assert content["permissions"] == {}
    assert set(content["on"]) <= {"pull_request", "push", "workflow_dispatch"}
    assert not [line for line in commands(projects["github"], "github") if "${{" in line]
    assert writing == ["comment"]
    assert content["jobs"]["comment"]["permissions"] == {"pull-requests": "write"}
    assert "head.repo.full_name == github.repository" in content["jobs"]["comment"]["if"]
    assert "needs.pipeline.outputs.review == 'success'" in content["jobs"]["comment"]["if"]
    assert "${{" not in github_script(projects["github"])


def test_the_job_that_may_write_checks_nothing_out_and_installs_nothing(projects: dict[str, BakedProject]) -> None:
    steps = definition(projects["github"], "github")["jobs"]["comment"]["steps"]
    job = definition(projects["gitlab"], "gitlab")["comment"]

    assert [step["uses"].split("@")[0] for step in steps] == ["actions/download-artifact", "actions/github-script"]
    assert job["variables"]["GIT_STRATEGY"] == "none"
    assert (job["before_script"], job["cache"], job["needs"]) == ([], [], ["pipeline"])
    assert "$CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_MERGE_REQUEST_PROJECT_ID" in job["rules"][0]["if"]
    assert not re.search(r"\b(pip|apt-get|dvc|mlops)\b(?! review: every run)", "\n".join(job["script"]))


@pytest.mark.parametrize("ci", FILES)
def test_every_command_of_ours_that_ci_runs_exists(projects: dict[str, BakedProject], ci: str) -> None:
    lines = commands(projects[ci], ci)
    called = {name for line in lines for name in re.findall(r"\bpython -m mlops (\w+)", line)}

    assert "review" in called
    assert {
        name: projects[ci].run("python", "-m", "mlops", name, "--help").returncode for name in called
    } == dict.fromkeys(called, 0)
    assert any(line.startswith("git diff --exit-code") and line.split(" || ")[0].endswith(" HEAD") for line in lines)


def test_the_job_that_runs_what_is_not_locked_has_no_secret_and_may_only_read(
    projects: dict[str, BakedProject],
) -> None:
    content = definition(projects["github"], "github", PACKAGES)
    [job] = content["jobs"].values()

    assert (content["permissions"], job["permissions"]) == ({}, {"contents": "read"})
    assert "python -m mlops packages --audit" in [step.get("run") for step in job["steps"]]
    assert not re.search(r"secrets\.|environment:", projects["github"].read(PACKAGES))


# ---- the comment on GitHub

# The parts of actions/github-script that the script uses; it prints its calls as JSON.
HARNESS = """
const {script, pages} = JSON.parse(require("fs").readFileSync(0, "utf8"));
const calls = [], listComments = Symbol("listComments");
const call = (name) => async (parameters) => { calls.push([name, parameters]); };
const github = {
  rest: {issues: {listComments, createComment: call("create"), updateComment: call("update")}},
  paginate: async (endpoint, parameters) => {
    if (endpoint !== listComments) throw new Error("not the comments");
    calls.push(["list", parameters]);
    return pages.flat();
  },
};
const context = {serverUrl: "https://github.example", runId: 7, repo: {owner: "o", repo: "r"}, issue: {number: 3}};
const AsyncFunction = (async () => {}).constructor;
new AsyncFunction("github", "context", "require", script)(github, context, require)
  .then(() => console.log(JSON.stringify(calls)));
"""


def github_script(project: BakedProject) -> str:
    script: str = definition(project, "github")["jobs"]["comment"]["steps"][-1]["with"]["script"]
    return script


def comment(number: int, login: str, body: str | None) -> dict[str, Any]:
    return {"id": number, "user": {"login": login, "type": "Bot" if "bot" in login else "User"}, "body": body}


@pytest.fixture
def on_github(projects: dict[str, BakedProject], tmp_path: Path) -> Callable[..., list[list[Any]]]:
    """A function that posts a review where these comments are, and gives the calls of the API."""
    assert shutil.which("node"), "node is needed: apt-get install nodejs"

    def post(review: str, *pages: list[dict[str, Any]]) -> list[list[Any]]:
        (tmp_path / "review.md").write_text(review, encoding="utf-8")
        done = subprocess.run(
            ["node", "-e", HARNESS],
            cwd=tmp_path,
            input=json.dumps({"script": github_script(projects["github"]), "pages": pages}),
            capture_output=True,
            encoding="utf-8",
        )
        assert done.returncode == 0, done.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["review.md"]
        calls: list[list[Any]] = json.loads(done.stdout)
        return calls

    return post


def test_on_github_the_first_review_is_a_new_comment(on_github: Callable[..., list[list[Any]]]) -> None:
    listed, created = on_github(f"# Review\n{HOSTILE}", [comment(1, "ada", "Nice."), comment(2, "ada", None)])

    place = {"owner": "o", "repo": "r", "issue_number": 3}
    link = "[All of this run, with the page of plots](https://github.example/o/r/actions/runs/7)"
    assert listed == ["list", place]
    assert created == ["create", place | {"body": f"{MARKER}\n# Review\n{HOSTILE}\n\n{link}"}]


def test_on_github_a_later_review_updates_the_comment_on_whatever_page(
    on_github: Callable[..., list[list[Any]]],
) -> None:
    pages = [[comment(number, "ada", "Nice.") for number in range(30)], [comment(31, "github-actions[bot]", MARKER)]]

    _, (name, parameters) = on_github("new", *pages)

    assert (name, parameters["comment_id"]) == ("update", 31)
    assert parameters["body"].startswith(f"{MARKER}\nnew\n")


def test_on_github_a_comment_of_someone_who_copied_the_marker_stays(
    on_github: Callable[..., list[list[Any]]],
) -> None:
    others = [comment(1, "ada", f"{MARKER}\nmine"), comment(2, "dependabot[bot]", f"{MARKER}\nmine")]
    quoted = comment(3, "github-actions[bot]", f"Not a review, but about {MARKER}")
    deleted = {**comment(4, "", MARKER), "user": None}

    assert [call[0] for call in on_github("new", [*others, quoted, deleted])] == ["list", "create"]


@pytest.mark.parametrize("line", ["| `é` | 0.8 | 0.9 |\n", "x" * 70_000 + "\n"], ids=["short", "long"])
def test_on_github_a_review_that_is_too_long_is_cut_at_a_line(
    on_github: Callable[..., list[list[Any]]], line: str
) -> None:
    _, (_, parameters) = on_github("# Review\n" + line * (100_000 // len(line) + 1))

    lines = parameters["body"].splitlines()
    assert len(parameters["body"]) < 65_536
    assert lines[:2] == [MARKER, "# Review"]
    assert set(lines[2:-4]) <= {line.strip()}
    assert lines[-4:-1] == ["", "*Cut here.*", ""]
    assert len(line) > 70_000 or len(parameters["body"]) > 64_900


# ---- the comment on GitLab


class GitLab(ThreadingHTTPServer):
    """The notes of one merge request, and the requests that arrived."""

    def __init__(self, notes: list[dict[str, Any]]) -> None:
        super().__init__(("127.0.0.1", 0), Api)
        self.notes = notes
        self.calls: list[tuple[str, str, dict[str, Any]]] = []


class Api(BaseHTTPRequestHandler):
    """The part of GitLab's API that the script uses."""

    server: GitLab

    def answer(self) -> None:
        url = urlsplit(self.path)
        content = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        found: Any = {}
        if self.headers["PRIVATE-TOKEN"] != "s3cr3t":
            self.send_error(401)
            return
        if self.command != "GET":
            self.server.calls.append((self.command, url.path, content))
        elif url.path == "/api/v4/user":
            found = {"id": 9}
        else:
            assert url.path == "/api/v4/projects/5/merge_requests/3/notes"
            page, size = (int(parse_qs(url.query)[name][0]) for name in ("page", "per_page"))
            found = self.server.notes[(page - 1) * size : page * size]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    do_GET = do_POST = do_PUT = answer  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@contextmanager
def gitlab(notes: list[dict[str, Any]]) -> Iterator[GitLab]:
    with GitLab(notes) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def note(number: int, author: int, body: str) -> dict[str, Any]:
    return {"id": number, "author": {"id": author}, "body": body}


RUN = "https://gitlab.example/run/12"
NOTES = "/api/v4/projects/5/merge_requests/3/notes"


@pytest.fixture
def on_gitlab(projects: dict[str, BakedProject], tmp_path: Path) -> Callable[..., list[tuple[str, str, Any]]]:
    """A function that runs the job beside a review where these notes are, and gives the calls that write."""
    # A file of an earlier job, of this name, that must not be imported.
    (tmp_path / "json.py").write_text("raise SystemExit('imported')\n", encoding="utf-8")

    def post(review: str | None, *notes: dict[str, Any], run: str = RUN) -> list[tuple[str, str, Any]]:
        if review is not None:
            (tmp_path / "review.md").write_text(f"{review}<!-- {run} -->\n", encoding="utf-8")
        before = {path.name for path in tmp_path.iterdir()}
        with gitlab(list(notes)) as server:
            variables = {
                "REVIEW_TOKEN": "s3cr3t",
                "CI_API_V4_URL": f"http://127.0.0.1:{server.server_port}/api/v4",
                "CI_PROJECT_ID": "5",
                "CI_MERGE_REQUEST_IID": "3",
                "CI_PIPELINE_URL": RUN,
                "no_proxy": "127.0.0.1",
            }
            script = "\n".join(definition(projects["gitlab"], "gitlab")["comment"]["script"])
            done = subprocess.run(
                ["bash", "-eo", "pipefail", "-c", script],
                cwd=tmp_path,
                env=surroundings(tmp_path, **variables),
                capture_output=True,
                encoding="utf-8",
            )
        assert done.returncode == 0, done.stdout + done.stderr
        assert {path.name for path in tmp_path.iterdir()} == before
        return server.calls

    return post


def test_on_gitlab_the_first_review_is_a_new_note(on_gitlab: Callable[..., list[tuple[str, str, Any]]]) -> None:
    [call] = on_gitlab(f"# Review\n{HOSTILE}", note(1, 2, "Nice."))

    body = f"{MARKER}\n# Review\n{HOSTILE}<!-- {RUN} -->\n\n\n[All of this run, with the page of plots]({RUN})"
    assert call == ("POST", NOTES, {"body": body})


def test_on_gitlab_a_later_review_updates_the_note_on_whatever_page(
    on_gitlab: Callable[..., list[tuple[str, str, Any]]],
) -> None:
    notes = [note(number, 2, "Nice.") for number in range(230)]

    [(method, path, content)] = on_gitlab("new\n", *notes, note(231, 9, f"{MARKER}\nold"))

    assert (method, path) == ("PUT", f"{NOTES}/231")
    assert content["body"].startswith(f"{MARKER}\nnew\n")


def test_on_gitlab_a_note_of_someone_who_copied_the_marker_stays(
    on_gitlab: Callable[..., list[tuple[str, str, Any]]],
) -> None:
    [(method, _, _)] = on_gitlab("new\n", note(1, 2, f"{MARKER}\nmine"), note(2, 9, f"Not a review, about {MARKER}"))

    assert method == "POST"


@pytest.mark.parametrize("line", ["| `é` | 0.8 | 0.9 |\n", "x" * 1_000_000 + "\n"], ids=["short", "long"])
def test_on_gitlab_a_review_that_is_too_long_is_cut_at_a_line(
    on_gitlab: Callable[..., list[tuple[str, str, Any]]], line: str
) -> None:
    [(_, _, content)] = on_gitlab("# Review\n" + line * (1_100_000 // len(line) + 1))

    lines = content["body"].splitlines()
    assert len(content["body"]) < 1_000_000
    assert lines[:2] == [MARKER, "# Review"]
    assert set(lines[2:-4]) <= {line.strip()}
    assert lines[-4:-1] == ["", "*Cut here.*", ""]


@pytest.mark.parametrize(
    ("review", "run"), [(None, RUN), ("old\n", "https://gitlab.example/run/1"), ("old\n", f"{RUN}3")]
)
def test_on_gitlab_without_a_review_of_this_run_nothing_is_written(
    on_gitlab: Callable[..., list[tuple[str, str, Any]]], review: str | None, run: str
) -> None:
    assert on_gitlab(review, run=run) == []


def test_on_gitlab_the_pipeline_marks_the_review_only_if_there_is_one(
    projects: dict[str, BakedProject], tmp_path: Path
) -> None:
    (step,) = [
        text for text in definition(projects["gitlab"], "gitlab")["pipeline"]["script"] if "mlops review" in text
    ]
    (tmp_path / "python").write_text("#!/bin/sh\necho '# Review'\nexit $FAILS\n")
    (tmp_path / "python").chmod(0o755)
    variables = {"CI_MERGE_REQUEST_DIFF_BASE_SHA": "abc", "CI_PIPELINE_URL": RUN}
    env = surroundings(tmp_path, **variables) | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}

    found = {}
    for fails in ("0", "1"):
        command = ["bash", "-eo", "pipefail", "-c", step]
        done = subprocess.run(command, cwd=tmp_path, env=env | {"FAILS": fails}, capture_output=True)
        found[fails] = (done.returncode, (tmp_path / "review.md").read_text())

    assert found == {"0": (0, f"# Review\n<!-- {RUN} -->\n"), "1": (1, "# Review\n")}


# ---- retraining


def test_on_github_retraining_starts_by_the_clock_or_by_hand_with_the_rights_that_it_needs(
    projects: dict[str, BakedProject],
) -> None:
    content = definition(projects["github"], "github", RETRAIN)
    (job,) = content["jobs"].values()
    checkout = job["steps"][0]["with"]

    assert set(content["on"]) == {"schedule", "workflow_dispatch"}
    assert [entry["cron"].split()[0] not in {"0", "*"} for entry in content["on"]["schedule"]] == [True]
    assert (content["permissions"], content["concurrency"]["cancel-in-progress"]) == ({}, False)
    assert set(job["permissions"]) == {"contents", "pull-requests", "issues", "actions"}
    assert (job["environment"], checkout["fetch-depth"], checkout["persist-credentials"]) == ("retrain", 0, False)
    assert not [step for step in job["steps"] if "${{" in step.get("run", "")]
    assert "workflow_dispatch" in definition(projects["github"], "github")["on"]  # its checks can be started


def test_on_gitlab_a_schedule_retrains_and_nothing_else_does(projects: dict[str, BakedProject]) -> None:
    content = definition(projects["gitlab"], "gitlab")
    conditions = {name: [rule["if"] for rule in content[name]["rules"]] for name in ("checks", "pipeline", "retrain")}
    job = content["retrain"]

    unscheduled = ['$CI_PIPELINE_SOURCE != "schedule"']
    scheduled = ['$CI_PIPELINE_SOURCE == "schedule" && $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH']
    assert conditions == {"checks": unscheduled, "pipeline": unscheduled, "retrain": scheduled}
    assert (job["resource_group"], job["interruptible"], job["variables"]["GIT_DEPTH"]) == ("retrain", False, "0")
    assert job["environment"] == {"name": "retrain", "action": "access"}


# Stands for `python -m mlops retrain`: says its options, and what Git is told when it asks for a password.
RETRAINS = """#!/bin/sh
echo "$*"
[ "$3" = retrain ] || exit 0
for host in https://host.example https://elsewhere.example; do
  printf 'url=%s\n\n' "$host" | GIT_TERMINAL_PROMPT=0 git credential fill 2> /dev/null | grep password
done
exit 0
"""


@pytest.mark.parametrize("ci", FILES)
@pytest.mark.parametrize("force", [False, True])
def test_retraining_gets_a_token_that_no_file_and_no_other_host_gets(
    projects: dict[str, BakedProject], ci: str, force: bool, tmp_path: Path
) -> None:
    home = tmp_path / "project"
    (home / ".dvc").mkdir(parents=True)
    (tmp_path / "given").write_text("[remote]\n")
    (tmp_path / "python").write_text(RETRAINS)
    (tmp_path / "dvc").write_text('#!/bin/sh\necho "dvc $*"\n')
    for program in ("python", "dvc"):
        (tmp_path / program).chmod(0o755)
    subprocess.run(["git", "init", "--quiet", home], check=True)
    subprocess.run(["git", "-C", home, "remote", "add", "origin", "https://job:t0ken@host.example/o/r.git"], check=True)
    given = {"FORCE": "yes" if force else ""}
    if ci == "github":
        fills, trusts, runs = definition(projects[ci], ci, RETRAIN)["jobs"]["retrain"]["steps"][3:6]
        expressions = {"secrets.DVC_CONFIG_LOCAL": "[remote]", "github.server_url": "https://host.example"}
        expressions |= {
            "secrets.RETRAIN_TOKEN || github.token": "s3cr3t",
            "inputs.force && 'yes' || ''": given["FORCE"],
        }

        def variable(text: object) -> str:
            return re.sub(r"\$\{\{ (.*?) \}\}", lambda found: expressions.get(found[1], ""), str(text))

        scripts = [fills["run"], trusts["run"], runs["run"]]
        given = {name: variable(text) for name, text in (fills["env"] | runs["env"]).items()}
    else:
        scripts = definition(projects[ci], ci)["retrain"]["script"]
        given |= {"CI_SERVER_URL": "https://host.example", "CI_PROJECT_URL": "https://host.example/o/r"}
        given |= {"RETRAIN_TOKEN": "s3cr3t", "DVC_CONFIG_LOCAL": str(tmp_path / "given")}

    def run(**more: str) -> subprocess.CompletedProcess[str]:
        env = surroundings(home, **given) | more
        env["PATH"] = f"{tmp_path}{os.pathsep}{env['PATH']}"
        command = ["bash", "-eo", "pipefail", "-c", "\n".join(scripts)]
        return subprocess.run(command, cwd=home, env=env, capture_output=True, text=True)

    done, without = run(), run(DVC_CONFIG_LOCAL="")

    trusted = "dvc pull models/model.joblib\n-m mlops trust --committed\n"
    assert done.stdout == f"{trusted}-m mlops retrain{' --force' * force}\npassword=s3cr3t\n", done.stderr
    assert (home / ".dvc" / "config.local").read_text() == "[remote]\n"
    assert ("t0ken" in (home / ".git" / "config").read_text()) == (
        ci == "github"
    )  # on GitLab, that of the job is no use
    assert [file for file in home.rglob("*") if file.is_file() and "s3cr3t" in file.read_text(errors="replace")] == []
    assert without.returncode == 1
    assert "DVC_CONFIG_LOCAL" in without.stdout
    assert "mlops" not in without.stdout


# Stands for GitHub's command line.
GH = """#!/bin/sh
case "$1 $2" in
  "pr list") while [ "$1" != --jq ]; do shift; done; jq -r "$2" "$PULLS" ;;
  "run list") case "$*" in *checked*) echo 1 ;; *) echo 0 ;; esac ;;
  *) echo "$*" ;;
esac
"""


@pytest.mark.parametrize("own_token", [False, True])
def test_on_github_the_checks_of_a_pull_request_of_retraining_are_started_once(
    projects: dict[str, BakedProject], own_token: bool, tmp_path: Path
) -> None:
    pulls = [
        ("retrain/a", "new", False),
        ("retrain/b", "checked", False),
        ("retrain/c", "f", True),
        ("own", "p", False),
    ]
    names = ("headRefName", "headRefOid", "isCrossRepository")
    (tmp_path / "pulls").write_text(json.dumps([dict(zip(names, pull, strict=True)) for pull in pulls]))
    (tmp_path / "gh").write_text(GH)
    (tmp_path / "gh").chmod(0o755)
    step = definition(projects["github"], "github", RETRAIN)["jobs"]["retrain"]["steps"][-1]
    variables = {"PULLS": str(tmp_path / "pulls"), "RUNNER_TEMP": str(tmp_path), "STARTED": "yes" * own_token}
    env = surroundings(tmp_path, **variables) | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}

    done = subprocess.run(["bash", "-e", "-c", step["run"]], cwd=tmp_path, env=env, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ("" if own_token else "workflow run ci.yml --ref retrain/a\n")


# ---- delivery; test_delivery_for_real.py runs its commands


def test_on_github_delivery_follows_a_green_push_to_main_and_may_write_nothing(
    projects: dict[str, BakedProject],
) -> None:
    content, checked = (definition(projects["github"], "github", file) for file in (DELIVER, FILES["github"]))
    jobs = content["jobs"]
    started = content["on"]["workflow_run"]

    assert set(content["on"]) == {"workflow_run"}
    assert (started["workflows"], started["branches"]) == ([checked["name"]], checked["on"]["push"]["branches"])
    for condition in (
        "vars.DELIVER == 'on'",
        "conclusion == 'success'",
        "event == 'push'",
        "head_branch == 'main'",
        "head_repository.full_name == github.repository",
    ):
        assert condition in jobs["package"]["if"]
    assert content["permissions"] == {}
    assert [job["permissions"] for job in jobs.values()] == [{"contents": "read"}] * 2
    assert [job["environment"] for job in jobs.values()] == ["delivery", "production"]
    assert jobs["production"]["needs"] == "package"
    assert content["concurrency"] == {"group": "deliver", "cancel-in-progress": False}
    for job in jobs.values():  # of the commit that was tested, not of what main is by then
        assert job["steps"][0]["with"]["ref"] == "${{ github.event.workflow_run.head_sha }}"
        assert not [step for step in job["steps"] if "${{" in step.get("run", "")]


def test_on_github_only_the_newest_commit_of_main_is_delivered(
    projects: dict[str, BakedProject], tmp_path: Path
) -> None:
    script = definition(projects["github"], "github", DELIVER)["jobs"]["production"]["steps"][-1]["run"]
    (tmp_path / "python").write_text('#!/bin/sh\necho "$*"\nexit 3\n')
    (tmp_path / "python").chmod(0o755)
    home = tmp_path / "clone"
    env = surroundings(tmp_path, GITHUB_STEP_SUMMARY=str(tmp_path / "summary"))
    env["PATH"] = f"{tmp_path}{os.pathsep}{env['PATH']}"
    as_ada = ("-c", "user.name=Ada", "-c", "user.email=ada@localhost")

    def git(*arguments: str) -> None:
        subprocess.run(["git", "-C", home, *as_ada, *arguments], check=True, env=env)

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-eo", "pipefail", "-c", script], cwd=home, env=env, capture_output=True, text=True
        )

    subprocess.run(["git", "init", "--quiet", "--initial-branch", "main", home], check=True, env=env)
    git("commit", "--quiet", "--allow-empty", "--message", "one")
    git("update-ref", "refs/remotes/origin/main", "HEAD")
    newest = run()
    git("commit", "--quiet", "--allow-empty", "--message", "two")
    git("update-ref", "refs/remotes/origin/main", "HEAD")
    git("checkout", "--quiet", "HEAD~1")
    older = run()

    assert newest.returncode == 3
    assert (tmp_path / "summary").read_text() == "-m mlops deliver --reproduce --limit 240\n"
    assert (older.returncode, "main has moved on" in older.stdout) == (0, True)


def test_on_gitlab_delivery_follows_the_checks_of_the_default_branch(projects: dict[str, BakedProject]) -> None:
    content = definition(projects["gitlab"], "gitlab")
    package, deliver = content["package"], content["deliver"]
    rules = [*package["rules"], *deliver["rules"]]

    assert content[".delivery"]["needs"] == ["checks", "pipeline"]
    assert (package["extends"], deliver["extends"], deliver["needs"]) == (".delivery", ".delivery", ["package"])
    for rule in rules:
        for condition in ("$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH", '$CI_PIPELINE_SOURCE == "push"', "$DELIVER"):
            assert condition in rule["if"]
    assert [rule.get("when") for rule in deliver["rules"]] == ["manual", None]
    assert (package["environment"]["name"], deliver["environment"]["name"]) == ("delivery", "production")
    assert (deliver["resource_group"], content[".delivery"]["interruptible"]) == ("production", False)


@pytest.mark.parametrize("code", [0, 3])
def test_on_gitlab_the_report_is_seen_and_the_verdict_is_that_of_the_job(
    projects: dict[str, BakedProject], code: int, tmp_path: Path
) -> None:
    (tmp_path / "python").write_text(f'#!/bin/sh\necho "$*"\nexit {code}\n')
    (tmp_path / "python").chmod(0o755)
    env = surroundings(tmp_path) | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    script = "\n".join(definition(projects["gitlab"], "gitlab")["deliver"]["script"])

    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True
    )

    assert (done.returncode, done.stdout) == (code, "-m mlops deliver --reproduce --limit 240\n")


STAND_IN = """\
#!/bin/sh
echo "{name} $*" >> "$CALLS"
case $* in *--password-stdin*) cat >> "$CALLS.input" ;; esac
"""


@pytest.mark.parametrize(("ci", "engine"), [("github", "docker"), ("gitlab", "buildah")])
def test_the_image_is_pushed_with_the_commit_as_its_tag_and_no_secret_is_an_argument(
    projects: dict[str, BakedProject], ci: str, engine: str, tmp_path: Path
) -> None:
    content = definition(projects[ci], ci, DELIVER if ci == "github" else "")
    script = content["jobs"]["package"]["steps"][-1]["run"] if ci == "github" else content["package"]["script"][-1]
    stand_ins = tmp_path / "bin"
    stand_ins.mkdir()
    for name in ("python", "apt-get", engine):
        (stand_ins / name).write_text(STAND_IN.format(name=name))
        (stand_ins / name).chmod(0o755)
    image = {"MODEL_IMAGE": "registry.example.org/team/churn", "CALLS": str(tmp_path / "calls")}
    account = {"IMAGE_REGISTRY_USERNAME": "robot", "IMAGE_REGISTRY_PASSWORD": "hunter2-hunter2"}
    env = surroundings(tmp_path) | image | account | {"PATH": f"{stand_ins}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True, env=env)
    as_ada = ("-c", "user.name=Ada", "-c", "user.email=ada@localhost")
    subprocess.run(["git", "-C", tmp_path, *as_ada, "commit", "--quiet", "--allow-empty", "-mx"], check=True, env=env)
    head = subprocess.check_output(["git", "-C", tmp_path, "rev-parse", "HEAD"], env=env, text=True).strip()

    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script],
        cwd=tmp_path,
        env=env | {"CI_COMMIT_SHA": head},
        capture_output=True,
        text=True,
    )

    calls = (tmp_path / "calls").read_text().splitlines()
    assert done.returncode == 0, done.stderr
    assert calls[-2:] == [
        f"{engine} login --username robot --password-stdin registry.example.org",
        f"python -m mlops package --to package.tar.gz --image {image['MODEL_IMAGE']}:{head} --push",
    ]
    assert (tmp_path / "calls.input").read_text() == account["IMAGE_REGISTRY_PASSWORD"]
    assert account["IMAGE_REGISTRY_PASSWORD"] not in "".join(calls) + done.stdout + done.stderr
