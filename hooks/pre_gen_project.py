"""Refuse answers that no project can be made of: all of them in one go, before anything is written."""

import csv
import json
import os
import re
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

Answers = dict[str, Any]

DATA_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
DATA_SCHEMES = ("http", "https", "s3")
REMOTE_SCHEMES = ("s3", "gs", "azure", "ssh", "http", "https", "webdav", "webdavs", "gdrive", "oss", "hdfs", "webhdfs")
TRACKING_SCHEMES = ("http", "https", "postgresql", "mysql", "mssql", "sqlite", "databricks")
WEB_SCHEMES = ("http", "https", "webdav", "webdavs")

# Windows opens a device under these names, whatever the extension.
DEVICES = {"con", "prn", "aux", "nul"} | {f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10)}
# GitHub allows 100 characters; Windows 260 for a whole path, of which the project's own files need their share.
LONGEST_NAME = 100
SECRET_IN_QUERY = re.compile(r"[?&;](password|passwd|pwd|secret|token|sig|signature|\w*key)=", re.IGNORECASE)
ABSOLUTE_SQLITE = re.compile(r"sqlite:///(/|[A-Za-z]:[\\/]).+")


def one_line(text: str) -> str:
    """What keeps `text` from standing on one line of a text file."""
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text):
        return "holds a line break, a control character or a broken one; write it on one line"
    return ""


def filled(text: str) -> str:
    """What keeps `text` from naming anything."""
    return one_line(text) or ("" if text.strip() else "is empty; give it a name")


def author(text: str) -> str:
    """What keeps `text` from being the author of a commit: Git drops punctuation from the ends of a name."""
    return filled(text) or ("" if text.strip(" .,:;<>\"\\'") else "is no name that Git takes; give it a letter")


def folder_name(name: str) -> str:
    """What keeps `name` from being a folder and a repository on Linux, macOS, Windows, GitHub and GitLab."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:LONGEST_NAME].rstrip("-") or "project"
    if plain in DEVICES or plain.endswith("-git"):
        plain = f"{plain.removesuffix('-git')}-project"
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", name):
        return (
            "is no folder and repository name on every system: it takes letters A to Z, digits, and between them "
            f"'-', '_' and '.'; {plain!r} would do"
        )
    if len(name) > LONGEST_NAME:
        return f"has {len(name)} characters, and a repository name at most {LONGEST_NAME}; {plain!r} would do"
    if name.lower().split(".")[0] in DEVICES:
        return f"is the name of a device on Windows; {plain!r} would do"
    if name.lower().endswith((".git", ".atom")):
        return f"ends like something that Git hosts reserve; {plain!r} would do"
    return ""


def split(url: str) -> SplitResult | None:
    """`url` in its parts, or None where it has no scheme or is broken; a drive letter is no scheme."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts if "://" in url and parts.scheme else None


def carries_secret(url: SplitResult) -> bool:
    """Whether `url` holds a password, or a user name where such is a token."""
    as_user = url.scheme in WEB_SCHEMES and url.username is not None
    return as_user or url.password is not None or SECRET_IN_QUERY.search(f"?{url.query}") is not None


def located(path: str, answers: Answers) -> str:
    """`path` as seen from where the person stands; the hook itself runs in the new project.

    That is the calling shell's `$PWD` (Windows has none), else the folder that the project is generated into.
    """
    path = os.path.expanduser(path)  # noqa: PTH111 – pathlib raises for an unknown user
    places = [os.path.join(base, path) for base in (os.environ.get("PWD", ""), answers["_output_dir"]) if base]  # noqa: PTH118
    return next((place for place in places if os.path.exists(place)), places[-1])  # noqa: PTH110 – an overlong one is False


def data(text: str, answers: Answers) -> str:
    """What keeps `text` from being the labelled data. A URL is only looked at, not fetched."""
    right = f"write 'example', or a path or URL (http, https, s3) of a file that ends in {', '.join(DATA_SUFFIXES)}"
    if text == "example":
        return ""
    if wrong := filled(text):
        return f"{wrong}: {right}"
    if url := split(text):
        if url.scheme not in DATA_SCHEMES or not url.netloc:
            return f"is no URL that the data can come from; {right}"
        return "" if url.path.lower().endswith(DATA_SUFFIXES) else f"does not say what kind of file it is; {right}"
    path = located(text, answers)
    if not os.path.exists(path):  # noqa: PTH110
        return f"does not exist ({path}); {right}"
    if not os.path.isfile(path):  # noqa: PTH113
        return f"is a folder, or no plain file ({path}); {right}"
    if not os.access(path, os.R_OK):
        return f"may not be read by you ({path})"
    return "" if path.lower().endswith(DATA_SUFFIXES) else f"is neither CSV nor Parquet by its name; {right}"


def target(text: str, answers: Answers) -> str:
    """What keeps `text` from being the column to predict. The columns of one's own data are read later, by `ops`."""
    if wrong := filled(text):
        return wrong
    template = Path(located(answers.get("_repo_dir", ""), answers))
    example = next(template.glob("*cookiecutter.project*/data/raw/*.csv"), None)
    if answers["data"] != "example" or example is None:
        return ""
    with example.open(newline="", encoding="utf-8") as file:
        columns = next(csv.reader(file))
    return "" if text in columns else f"is no column of the example data, which has {', '.join(columns)}"


def dvc_remote(text: str) -> str:
    """What keeps `text` from being the URL of a DVC remote in `.dvc/config`, which is tracked by Git."""
    right = f"write a full path, or a URL whose scheme is one of {', '.join(REMOTE_SCHEMES)}"
    if wrong := one_line(text):
        return wrong
    if '"' in text or "%(" in text:
        return "holds '\"' or '%(', which DVC's configuration file cannot keep; choose another place"
    if url := split(text):
        if url.scheme not in REMOTE_SCHEMES or not url.netloc:
            return f"is no place that DVC knows; {right}"
        if carries_secret(url):
            return "holds a secret, and would be kept in Git; leave it out, and give it to `dvc remote modify --local`"
        return ""
    full = not text or os.path.isabs(os.path.expanduser(text))  # noqa: PTH111, PTH117
    return "" if full else f"is neither a full path nor a URL; {right}"


def mlflow_tracking_uri(text: str) -> str:
    """What keeps `text` from being MLflow's tracking URI in `params.yaml`, which is tracked by Git."""
    right = f"write a URI whose scheme is one of {', '.join(TRACKING_SCHEMES)}, or nothing for SQLite in the project"
    if text in ("", "databricks"):
        return ""
    if wrong := one_line(text):
        return wrong
    url = split(text)
    if url is None or url.scheme.split("+")[0] not in TRACKING_SCHEMES:  # postgresql+psycopg names the driver
        return f"is no tracking store that MLflow knows; {right}"
    if url.scheme == "sqlite":
        right = "write sqlite:/// and a full path, as in sqlite:////srv/mlflow.db"
        return (
            "" if ABSOLUTE_SQLITE.fullmatch(text) else f"would be another database in each working directory; {right}"
        )
    if not url.netloc:
        return f"names no host; {right}"
    if carries_secret(url):
        return "holds a secret, and would be kept in Git; leave it out, and give it in the environment instead"
    return ""


def refusals(answers: Answers) -> list[str]:
    """One sentence for each answer that cannot be used: which, what is wrong with it, what would be right."""
    checks: dict[str, Callable[[str], str]] = {
        "project_name": filled,
        "project": folder_name,
        "description": one_line,
        "author": author,
        "data": lambda text: data(text, answers),
        "target": lambda text: target(text, answers),
        "dvc_remote": dvc_remote,
        "mlflow_tracking_uri": mlflow_tracking_uri,
    }
    return [f"{name} = {answers[name]!r} {wrong}." for name, check in checks.items() if (wrong := check(answers[name]))]


def main(answers: Answers) -> int:
    """Name every refusal on stderr; the exit code 1 makes cookiecutter stop."""
    sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    found = refusals(answers)
    if found:
        lines = [f"  - {refusal}" for refusal in found]
        print("No project was made. Please answer again:", *lines, sep="\n", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    # Safe for any answer: JSON has no raw line break, never three bare quotes in a row, and pairs its backslashes as
    # a raw string does, so that Python's string ends where the JSON ends.
    sys.exit(main(json.loads(r"""{{ cookiecutter | tojson }}""")))
