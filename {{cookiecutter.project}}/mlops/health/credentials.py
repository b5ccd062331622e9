"""Secrets: there for what is configured, in no tracked file, and readable by nobody else. None is ever printed."""

import os
import re
import shlex
import stat
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mlops.base import params
from mlops.base.errors import ParameterError, ProjectError, counted, without_passwords
from mlops.health import storage
from mlops.health.finding import EDIT, Finding, Repair
from mlops.history import git
from mlops.registry import backend

SUBJECT = "credentials"
LOCAL = Path(".dvc/config.local")
SETTINGS = (params.FILE, Path(".dvc/config"))  # where nothing is an example
PRIVATE = (LOCAL, Path(".env"))  # files for secrets, which Git must not have and others must not read
NAMES = re.compile(
    r"(?i)(key|token|passw(or)?d|secret|credential|webhook|slack|smtp|connection_string|_auth(?!or)|"
    r"(?<![a-z])pat(?![a-z]))"  # a personal access token, but no PATH
)
SHORTEST = 8  # characters of a value that is taken for a secret: a shorter one is in any text
LONG = 12  # characters of a value of letters alone that is looked for: "password" stands in many files
MOST_BYTES = 1_000_000  # of a file that is read
MOST_SHOWN = 5
# What looks like a secret by itself, and its name.
PATTERNS = {
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s*[\w+/=]{20}"),
    "a GitHub token": re.compile(r"\b(?:gh[pousr]_\w{30,}|github_pat_\w{30,})"),
    "a GitLab token": re.compile(r"\bglpat-[\w-]{20,}"),
    "a Slack address": re.compile(r"hooks\.slack\.com/services/T\w{5,}/B\w{5,}/\w{10,}"),
    "a Slack token": re.compile(r"\bxox[abprs]-[\w-]{10,}"),
    "a Google key": re.compile(r"\bAIza[\w-]{35}\b"),
    "a password in an address": re.compile(
        r"\b[a-z][a-z0-9+.-]*://[^\s/:@\"'<>{}$]*:(?P<secret>[^\s/@\"'<>{}$]+)@[\w.-]+"
    ),
    "a value that is named a secret": re.compile(
        r"(?i)\b(?:secret_access_key|aws_secret_access_key|sas_token|account_key|connection_string|client_secret|"
        r"access_token|api_key|password)[\"']?\s*[=:]\s*[\"']?(?P<secret>[\w+/=.~!@#%^&*-]{8,})"
    ),
}
# Words that stand for a secret in an example; so does all that has no digit.
EXAMPLES = re.compile(r"(?i)^(?:.*(?:example|your|change|secret|passw|dummy|xxx|\.\.\.|test).*|[^0-9]*)$")


def known(environ: Mapping[str, str] | None = None) -> set[str]:
    """The secrets that this machine has for the project: of the environment, and of the private files."""
    given = (environ or os.environ).items()
    values = {value for name, value in given if NAMES.search(name) and not name.startswith("GIT_CONFIG_KEY")}
    values |= {value for _, value in given if "://" in value and _parts(value)}
    for path in PRIVATE:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        entries = re.findall(r"^\s*(?:export\s+)?([\w.-]+)\s*=\s*[\"']?(.*?)[\"']?\s*$", text, re.M)
        values |= {value for name, value in entries if NAMES.search(name)}
        values |= {value for _, value in entries if "@" in value}
    parts = {part for value in values for part in _parts(value)}
    return {one for one in values | parts if len(one) >= SHORTEST and not one.startswith(("/", "~"))}


def _parts(value: str) -> set[str]:
    """The password in an address, and the keys in a list of name:key."""
    try:
        password = urlsplit(value).password if "://" in value else None
    except ValueError:
        password = None
    found = {password, unquote(password)} if password else set()
    return found | {entry.partition(":")[2] for entry in value.split(",") if ":" in entry and "://" not in value}


def hidden(text: str, secrets: set[str]) -> str:
    """The text without any known secret, and without what stands before an @ in an address."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "…")
    return without_passwords(text)


def hidden_everywhere(content: Any, secrets: set[str]) -> Any:
    """Plain values, with each text in them as by `hidden`."""
    if isinstance(content, dict):
        return {key: hidden_everywhere(value, secrets) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [hidden_everywhere(value, secrets) for value in content]
    return hidden(content, secrets) if isinstance(content, str) else content


def check(now: datetime) -> Iterator[Finding]:
    """Look whether credentials are there, private, and in no tracked file."""
    found = [*_private(), *_exposed()]
    yield from found
    yield from _configured()
    if not found:
        yield Finding(SUBJECT, "fine", "no tracked file has a secret that is known here, or looks like one")


def _private() -> Iterator[Finding]:
    for path in PRIVATE:
        if git.run("ls-files", "--", path.as_posix(), default="").strip():
            command = f"git rm --quiet --cached {path} && echo /{path} >> .gitignore"
            said = f"{path} is in Git, and so are its secrets: they have to be made anew where they come from"
            yield Finding(SUBJECT, "fault", said, command)
        if os.name != "posix" or not path.is_file():
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            repair = Repair(f"chmod 600 {path}", f"chmod 600 {path}", lambda path=path: path.chmod(0o600))  # type: ignore[misc]
            said = f"{path} can be read by others on this machine (mode {mode:o})"
            yield Finding(SUBJECT, "warning", said, f"chmod 600 {path}", repair)


def _exposed() -> Iterator[Finding]:
    """Secrets in tracked files, by file and line; the machinery is the template's own."""
    names = {*git.run("ls-files", "-z", default="").split("\0"), *(path.as_posix() for path in SETTINGS)} - {""}
    places: dict[str, list[int]] = {}
    secrets = {one for one in known() if len(one) >= LONG or not one.isalpha()}
    for name in sorted(names):
        path = Path(name)
        if path in PRIVATE or name.startswith("mlops/") or name == "requirements.txt" or not _readable(path):
            continue
        text = path.read_bytes().decode("utf-8", errors="replace")
        for what, line in _found(text, secrets, strict=path in SETTINGS):
            places.setdefault(f"{name}\0{what}", []).append(line)
    for number, (key, lines) in enumerate(places.items()):
        name, what = key.split("\0")
        if number == MOST_SHOWN:
            yield Finding(SUBJECT, "fault", f"{counted(len(places) - MOST_SHOWN, 'more secret')} in tracked files", "")
            return
        said = (
            f"{name}, line {lines[0]}, has {what}: make it anew where it comes from, since the history keeps this one"
        )
        command = f"{EDIT} +{lines[0]} {shlex.quote(name)}"
        yield Finding(SUBJECT, "fault", said, command, figures={"file": name, "lines": lines})


def _readable(path: Path) -> bool:
    try:
        return path.is_file() and not path.is_symlink() and path.stat().st_size <= MOST_BYTES
    except OSError:
        return False


def _found(text: str, secrets: set[str], *, strict: bool) -> Iterator[tuple[str, int]]:
    """What kind of secret stands in a text, and in which line; if not `strict`, what may be an example is none."""
    at: dict[int, str] = {}
    for secret in secrets:
        if (place := text.find(secret)) >= 0:
            at[text.count("\n", 0, place) + 1] = "a secret of this machine's environment"
    for what, pattern in PATTERNS.items():
        for match in pattern.finditer(text):
            value = match.groupdict().get("secret")
            if value is None or strict or not EXAMPLES.match(value):
                at.setdefault(text.count("\n", 0, match.start()) + 1, what)
    yield from ((what, line) for line, what in sorted(at.items()))


def _configured() -> Iterator[Finding]:
    """Whether what is configured finds its credentials; where from is said, and never what they are."""
    yield from _of_remote()
    yield from _of_registry()
    try:
        from mlops.alerting import alerts

        settings = params.load(params.Alerts, missing_ok=True)
        alerts.require(settings)
        needing = [name for name in alerts.configured(settings) if name not in ("log", "textfile")]
        if needing:
            yield Finding(SUBJECT, "fine", f"the channels {', '.join(needing)} have what they need")
    except ParameterError as error:
        said = str(error).removeprefix(f"{params.FILE}: ")
        yield Finding(
            SUBJECT, "warning", f"{said}; here, at least: a schedule may have it", "python -m mlops alert --dry-run"
        )


def _of_remote() -> Iterator[Finding]:
    settings = storage.config()
    name = settings.get("core", {}).get("remote")
    remote = settings.get("remote", {}).get(name, {}) if name else {}
    kind = urlsplit(str(remote.get("url", ""))).scheme
    home = Path.home()
    places: dict[str, tuple[tuple[str, ...], tuple[str, ...], Path, str]] = {
        "s3": (
            ("AWS_ACCESS_KEY_ID", "AWS_PROFILE"),
            ("access_key_id", "profile"),
            home / ".aws/credentials",
            "access_key_id",
        ),
        "gs": (
            ("GOOGLE_APPLICATION_CREDENTIALS",),
            ("credentialpath",),
            home / ".config/gcloud/application_default_credentials.json",
            "credentialpath",
        ),
        "azure": (
            ("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN"),
            ("connection_string", "account_key", "sas_token"),
            home / ".azure/azureProfile.json",
            "connection_string",
        ),
    }
    if kind not in places:
        return
    variables, keys, file, key = places[kind]
    origin = next((variable for variable in variables if os.environ.get(variable)), "")
    origin = origin or next((f"DVC's configuration ({one})" for one in keys if remote.get(one)), "")
    origin = origin or (f"~/{file.relative_to(home)}" if file.is_file() else "")
    if origin:
        yield Finding(SUBJECT, "fine", f"the remote {name} has credentials, from {origin}")
    else:
        said = f"the remote {name} ({kind}) finds no credentials here, unless the machine itself has a role"
        yield Finding(SUBJECT, "warning", said, f"dvc remote modify --local {name} {key} …")


def _of_registry() -> Iterator[Finding]:
    try:
        address = backend.address(params.load(params.Tracking, missing_ok=True).uri)
    except ProjectError:
        return  # told where the registry is looked at
    if urlsplit(address).scheme not in ("http", "https"):
        return
    given = [name for name in ("USERNAME", "PASSWORD", "TOKEN") if os.environ.get(f"MLFLOW_TRACKING_{name}")]
    if given in (["USERNAME"], ["PASSWORD"]):
        lacking = "PASSWORD" if given == ["USERNAME"] else "USERNAME"
        said = f"MLFLOW_TRACKING_{given[0]} is set, and MLFLOW_TRACKING_{lacking} is not"
        yield Finding(SUBJECT, "warning", said, f"export MLFLOW_TRACKING_{lacking}=…")
    elif given:
        yield Finding(SUBJECT, "fine", f"the registry has credentials, from MLFLOW_TRACKING_{' and '.join(given)}")
