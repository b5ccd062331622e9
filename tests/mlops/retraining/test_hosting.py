"""Pull and merge requests: which host a remote is, what is asked of it, and what a person has to type elsewhere."""

import json
import os
from pathlib import Path

import pytest
from mlops.base.errors import StoreError
from mlops.retraining import hosting
from mlops.retraining.hosting import Host

GITHUB = Host("github", "github.com", "ada/churn")


@pytest.mark.parametrize(
    ("url", "environment", "host"),
    [
        ("https://github.com/ada/churn.git", {}, GITHUB),
        ("git@github.com:ada/churn.git", {}, GITHUB),
        ("ssh://git@github.com:22/ada/churn", {}, GITHUB),
        (
            "https://token:x@gitlab.example.com/group/sub/churn.git",
            {},
            Host("gitlab", "gitlab.example.com", "group/sub/churn"),
        ),
        ("https://git.example.com/a/b", {}, Host("", "git.example.com", "a/b")),
        (
            "https://git.example.com/a/b",
            {"CI_SERVER_HOST": "git.example.com"},
            Host("gitlab", "git.example.com", "a/b"),
        ),
        (
            "https://ghe.example.com/a/b",
            {"GITHUB_SERVER_URL": "https://ghe.example.com"},
            Host("github", "ghe.example.com", "a/b"),
        ),
        ("../remote.git", {}, Host("", "", "")),
        ("/srv/github/remote.git", {}, Host("", "", "")),
    ],
)
def test_the_host_of_a_remote(url: str, environment: dict[str, str], host: Host) -> None:
    assert hosting.host_of(url, environment) == host


def test_gitlab_is_asked_by_options_of_the_push_that_have_no_line_break() -> None:
    options = hosting.push_options(Host("gitlab", "h", "r"), "main", "Retrain\nnow", "- a\n\n- b")

    assert options[::2] == ["-o"] * 5
    assert "merge_request.title=Retrain now" in options
    assert "merge_request.description=- a - b" in options
    assert hosting.push_options(GITHUB, "main", "t", "s") == []


@pytest.fixture
def gh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `gh` that keeps what it was asked in a file, and lists the open requests that another file has."""
    log, requests = tmp_path / "asked.jsonl", tmp_path / "open.json"
    requests.write_text("[]")
    script = tmp_path / "gh"
    script.write_text(
        "#!/bin/sh\n"
        f"python3 -c 'import json, sys; print(json.dumps(sys.argv[1:]))' \"$@\" >> {log}\n"
        f"[ -e {tmp_path}/refuses ] && {{ cat {tmp_path}/refuses >&2; exit 1; }}\n"
        f'case "$2" in list) cat {requests};; create) echo https://github.com/ada/churn/pull/7;; esac\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def asked(folder: Path) -> list[list[str]]:
    return [json.loads(line) for line in (folder / "asked.jsonl").read_text().splitlines()]


def test_a_pull_request_is_opened_once_and_then_updated(gh: Path) -> None:
    first = hosting.request(GITHUB, "origin", "retrain/ab", "main", "Retrain", Path("review.md"))
    (gh / "open.json").write_text('[{"url": "https://github.com/ada/churn/pull/7"}]')
    second = hosting.request(GITHUB, "origin", "retrain/ab", "main", "Retrain", Path("review.md"))

    assert first == second == {"url": "https://github.com/ada/churn/pull/7"}
    assert [words[1] for words in asked(gh)] == ["list", "create", "list", "edit"]
    assert asked(gh)[1][2:] == [
        *("--repo", "github.com/ada/churn", "--head", "retrain/ab", "--base", "main"),
        *("--title", "Retrain", "--body-file", "review.md"),
    ]


@pytest.mark.parametrize(
    ("refusal", "hint"),
    [
        ("GitHub Actions is not permitted to create or approve pull requests", "allow GitHub Actions to create"),
        ("To get started, please run: gh auth login", "set GH_TOKEN"),
    ],
)
def test_a_refusal_says_what_to_do(gh: Path, refusal: str, hint: str) -> None:
    (gh / "refuses").write_text(refusal)

    with pytest.raises(StoreError, match=hint):
        hosting.request(GITHUB, "origin", "retrain/ab", "main", "Retrain", Path("review.md"))


def test_without_a_known_host_the_commands_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    local = hosting.request(Host("", "", ""), "", "retrain/ab", "main", "Retrain", Path("review.md"))
    remote = hosting.request(Host("", "", ""), "origin", "retrain/ab", "main", "Retrain", Path("review.md"))
    monkeypatch.setenv("PATH", os.devnull)
    github = hosting.request(GITHUB, "origin", "retrain/ab", "main", "Retrain", Path("review.md"))

    assert local["commands"][0] == "git merge retrain/ab"
    assert remote["commands"][0] == "git fetch origin && git merge origin/retrain/ab && git push"
    assert github["commands"][0].startswith("gh pr create --head retrain/ab --base main")


def test_a_text_that_is_too_long_for_a_host_ends_with_a_whole_line() -> None:
    short = hosting.shortened("one line of it\n" * 10_000)

    assert len(short) < 65_536
    assert short.endswith("one line of it\n\n*Cut here.*\n")
