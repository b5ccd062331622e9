"""`packages`: the licence of each locked package, and which packages have known vulnerabilities."""

import json
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from mlops.base import console, uv, yaml
from mlops.base.errors import StoreError, counted, without_passwords
from mlops.commands.options import AsJson
from mlops.history import paths
from mlops.rollout import bill

TOOL = "pip-audit>=2.10,<3"  # whose JSON is read here
ASKED = ("--no-deps", "--disable-pip", "--format=json", "--progress-spinner=off")  # of the pins as they are
OTHER = re.compile(r"\s*(#|$)|--[\w-]*(index|links|binary|host)")  # lines of a lock that name no package
Found = dict[tuple[str, str], list[dict[str, Any]]]


def packages(
    audit: Annotated[bool, typer.Option("--audit", help="Look up known vulnerabilities, by pip-audit.")] = False,
    ignore: Annotated[
        list[str] | None, typer.Option(help="The id of a vulnerability that does not matter here.")
    ] = None,
    deny: Annotated[list[str] | None, typer.Option(help="A licence that may not be used, such as GPL-3.0.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the locked packages, their licences and vulnerabilities.

    A licence is what the installed package says. With `--audit`, pip-audit asks its service about every version in
    requirements.txt, for all systems; if pip-audit is not installed, uv fetches it. Its variables choose the service
    (`PIP_AUDIT_VULNERABILITY_SERVICE`, `PIP_AUDIT_OSV_URL`). The exit code is 3 if a package has a known vulnerability,
    or a licence that `--deny` names.

    Raises:
        StoreError: requirements.txt is damaged, or the service cannot be asked, or knows none of the packages.
    """
    lock = yaml.text_of(paths.REQUIREMENTS)
    _refuse_damaged(lock)
    pins: list[dict[str, Any]] = [
        {
            "name": each["name"],
            "version": each["version"],
            "only_if": next((one["value"] for one in each.get("properties", [])), None),
            "licence": bill.licence(each) or None,
        }
        for each in bill.libraries(lock)
    ]
    found = _audited([(pin["name"], pin["version"]) for pin in pins], ignore or []) if audit else {}
    for pin in pins:
        pin["vulnerabilities"] = found.get((pin["name"], pin["version"]))
    denied = [pin for pin in pins if any(_is_of(pin["licence"] or "", one) for one in deny or [])]
    if as_json:
        console.print_json({"packages": pins, "denied": [f"{pin['name']} {pin['version']}" for pin in denied]})
    else:
        typer.echo("\n".join([*_lines(pins, denied), *(_verdict(pins, ignore or []) if audit else [])]))
    if denied or any(found.values()):
        sys.exit(console.VERDICT)


def _refuse_damaged(lock: str) -> None:
    """What is not read could be vulnerable."""
    unread = [line for line in bill.PIN.sub("", lock).splitlines() if not OTHER.match(line)]
    if lock.rstrip().endswith("\\"):  # the lines that follow are gone
        unread.append(lock.splitlines()[-1])
    if unread or not bill.PIN.search(lock):
        found = f"the line `{without_passwords(unread[0])}`" if unread else "nothing"
        raise StoreError(
            f"{paths.REQUIREMENTS} has {found} where a pinned package (name==version) was expected: bring it back from "
            "Git's history, or correct it"
        )


def _audited(pins: list[tuple[str, str]], ignore: list[str]) -> Found:
    """The vulnerabilities of each version that the service knows.

    pip-audit takes one version of a package at a time, and a lock may have two, for older and newer Pythons.
    """
    found: Found = {}
    unknown = ""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        installed = shutil.which("pip-audit")
        tool = [installed] if installed else [uv.program(folder), "tool", "run", "--from", TOOL, "pip-audit"]
        ignored = [f"--ignore-vuln={one}" for one in ignore]
        asked, answer = folder / "asked.txt", folder / "answer.json"
        while pins:
            turn = dict(reversed(pins))
            pins = [pin for pin in pins if pin not in turn.items()]
            asked.write_text("".join(f"{name}=={version}\n" for name, version in turn.items()), encoding="utf-8")
            answer.unlink(missing_ok=True)
            done = uv.call([*tool, *ASKED, *ignored, f"--requirement={asked}", f"--output={answer}"])
            # It ends with 1 if it has found something, too: without an answer nobody knows.
            if not answer.is_file():
                raise StoreError(
                    f"pip-audit has not said which packages are vulnerable ({_reason(done.stderr)}): see that its "
                    "service can be reached, or choose another by PIP_AUDIT_VULNERABILITY_SERVICE"
                )
            for each in json.loads(answer.read_text(encoding="utf-8"))["dependencies"]:
                if "vulns" in each:
                    found[each["name"], each["version"]] = [_vulnerability(one) for one in each["vulns"]]
                else:
                    unknown = each["skip_reason"]
    if unknown and not found:
        raise StoreError(
            "pip-audit's service knows none of the packages, so a proxy or a mirror may answer in its place (of one it "
            f"says: {unknown}): choose another by PIP_AUDIT_VULNERABILITY_SERVICE (pypi, osv)"
        )
    return found


def _vulnerability(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "ids": [found["id"], *found.get("aliases", [])],
        "fixed_in": found["fix_versions"],
        "description": found.get("description", ""),
    }


def _reason(printed: str) -> str:
    """The last line of what pip-audit says that is not advice about its own options."""
    lines = [line for line in printed.splitlines() if line.strip() and "Tip:" not in line]
    return uv.said(lines[-1] if lines else "")


def _is_of(licence: str, denied: str) -> bool:
    """Whether a word of a licence begins so, and leaves no choice: GPL-3.0 is in GPL-3.0-only, and not in LGPL-3.0."""
    choices = [licence] if " AND " in licence else licence.split(" OR ")
    return all(re.search(rf"(?<!\w){re.escape(denied)}", choice, re.IGNORECASE) for choice in choices)


def _lines(pins: list[dict[str, Any]], denied: list[dict[str, Any]]) -> list[str]:
    """All packages with their licences, then what a person has to look at."""
    width = max((len(f"{pin['name']} {pin['version']}") for pin in pins), default=0)
    lines = [f"{_named(pin):<{width}}  {pin['licence'] or _unknown(pin)}" for pin in pins]
    silent = [_named(pin) for pin in pins if not pin["licence"]]
    lines += ["", f"{counted(len(pins), 'package')} in {paths.REQUIREMENTS}"]
    if silent:
        lines.append(f"licence unknown, not named or not installed here: {', '.join(silent)}")
    return [*lines, *(f"licence denied: {_named(pin)} ({pin['licence']})" for pin in denied)]


def _unknown(pin: dict[str, Any]) -> str:
    return f"unknown (only if {pin['only_if']})" if pin["only_if"] else "unknown"


def _verdict(pins: list[dict[str, Any]], ignored: list[str]) -> list[str]:
    """Every known vulnerability, how many packages that is said of, and the packages of which nothing is known."""
    lines = []
    for pin in pins:
        for one in pin["vulnerabilities"] or []:
            fixed = f"fixed in {', '.join(one['fixed_in'])}" if one["fixed_in"] else "not fixed yet"
            lines.append(f"vulnerable: {_named(pin)} by {' = '.join(one['ids'])}, {fixed}: {one['description']}")
    judged = [pin for pin in pins if pin["vulnerabilities"] is not None]
    number = counted(len(lines), "known vulnerability", "known vulnerabilities")
    without = f", without {', '.join(ignored)}" if ignored else ""
    upgrade = ["`python -m mlops lock --upgrade` takes newer versions"] if lines else []
    lines.append(f"{number} in {counted(len(judged), 'package')}{without}")
    if missing := [_named(pin) for pin in pins if pin not in judged]:
        lines.append(f"the service does not know, so that nobody can say: {', '.join(missing)}")
    return lines + upgrade


def _named(pin: dict[str, Any]) -> str:
    return f"{pin['name']} {pin['version']}"
