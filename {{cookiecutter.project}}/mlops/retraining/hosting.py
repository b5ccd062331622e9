"""Where the remote is hosted: a pull request by `gh`, a merge request by options of the push, else commands to type."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from mlops.base.errors import StoreError
from mlops.history import git

Kind = Literal["github", "gitlab", ""]
MOST = 65_000  # characters of a text; GitHub takes 65,536
# `git@host:owner/name.git`, which is no URL.
SCP = re.compile(r"(?:[^@/]+@)?([^:/]+):(?!//)(.+)")


@dataclass(frozen=True)
class Host:
    """The host of a remote: its kind, its name, and the path of the repository there."""

    kind: Kind
    name: str
    repository: str


def host_of(url: str, environment: Mapping[str, str] = os.environ) -> Host:
    """The host behind the URL of a remote; its kind by its name, or because CI says that it runs there."""
    scp = SCP.fullmatch(url) if "://" not in url else None
    parts = urlsplit(url if "://" in url else "")
    name, path = (scp[1], scp[2]) if scp else (parts.hostname or "", parts.path)
    name, repository = name.lower(), path.strip("/").removesuffix(".git")
    kind: Kind = ""
    if "github" in name or name == (urlsplit(environment.get("GITHUB_SERVER_URL", "")).hostname or "-"):
        kind = "github"
    elif "gitlab" in name or name == environment.get("CI_SERVER_HOST", "-"):
        kind = "gitlab"
    return Host(kind, name, repository)


def address(remote: str) -> str:
    """The URL of a remote as it is configured, without the rewriting of `url.….insteadOf`."""
    return git.run("config", "--get", f"remote.{remote}.url", default="").strip()


def push_options(host: Host, main: str, title: str, summary: str) -> list[str]:
    """The options of `git push` by which GitLab opens a merge request. A value may have no line break."""
    if host.kind != "gitlab":
        return []
    values = ["create", f"target={main}", f"title={_one_line(title)}", f"description={_one_line(summary)}"]
    values.append("remove_source_branch")
    return [part for value in values for part in ("-o", f"merge_request.{value}")]


def request(host: Host, remote: str, branch: str, main: str, title: str, body: Path) -> dict[str, Any]:
    """Open the pull request of a branch that is pushed, or update the text of the one that is open.

    Returns its `url`; or `commands` that a person may type, where there is no `gh` or no host that is known; on GitLab
    the push has opened it.

    Raises:
        StoreError: `gh` refuses.
    """
    if host.kind == "gitlab":
        return {"url": f"https://{host.name}/{host.repository}/-/merge_requests?source_branch={branch}"}
    if host.kind == "github" and shutil.which("gh"):
        repository = ["--repo", f"{host.name}/{host.repository}"]
        found = json.loads(_gh("pr", "list", *repository, "--head", branch, "--state", "open", "--json", "url") or "[]")
        text = ["--title", title, "--body-file", str(body)]
        if found:
            _gh("pr", "edit", str(found[0]["url"]), *text)
            return {"url": found[0]["url"]}
        made = _gh("pr", "create", *repository, "--head", branch, "--base", main, *text)
        return {"url": made.strip().splitlines()[-1] if made.strip() else ""}
    commands = [f"git fetch {remote} && git merge {remote}/{branch} && git push"] if remote else [f"git merge {branch}"]
    if host.kind == "github":
        commands = [f"gh pr create --head {branch} --base {main} --title '{title}' --body-file {body.as_posix()}"]
    return {"commands": [*commands, "dvc pull && python -m mlops sync"]}


def shortened(text: str) -> str:
    """A text that a host takes as that of a request."""
    return text if len(text) <= MOST else f"{text[:MOST].rpartition(chr(10))[0]}\n\n*Cut here.*\n"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _gh(*arguments: str) -> str:
    done = _run(["gh", *arguments])
    if not done.returncode:
        return done.stdout
    said = " ".join(done.stderr.split())[:300]
    hint = ""
    if "not permitted to create" in said:
        hint = (
            ": in Settings > Actions > General, allow GitHub Actions to create and approve pull requests, or give a "
            "token of an app"
        )
    elif "auth login" in said or "GH_TOKEN" in said:
        hint = ": set GH_TOKEN, or run `gh auth login`"
    raise StoreError(f"`gh {arguments[0]} {arguments[1]}` failed ({said}){hint}; the branch is pushed")


def _run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "GH_PROMPT_DISABLED": "1", "NO_COLOR": "1"}
    return subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
