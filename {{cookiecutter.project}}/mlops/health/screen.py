"""The status as words: one short line a fact, for a terminal and for the page."""

import os
import shutil
import sys
import textwrap
from collections.abc import Mapping
from typing import Any

from mlops.base.errors import counted
from mlops.health.finding import named
from mlops.health.status import elsewhere
from mlops.monitoring.incidents import DRIFT

Facts = Mapping[str, Any]
WIDTH, HEIGHT, LABEL = 80, 24, 13  # columns and lines of a terminal
MOST_LINES, MOST_STEPS = 2, 5


def lines_of(facts: Facts) -> list[tuple[str, str, str]]:
    """Each line: what it is about, its words, and how it is (`good`, `bad`, or "" for neither)."""
    whose = _whose(facts)
    late = bool(facts["stale"].get("incoming")) and not facts["drift"].get("current")
    parts = {
        "In production": (facts["production"], _production),
        "Performance": (facts["performance"], lambda found: _performance(found, whose, late)),
        "Drift": (facts["drift"], lambda found: _drift(found, whose, late)),
        "Incidents": (facts["incidents"], lambda found: _incidents(found, whose.removesuffix(": "))),
        "Server": (facts["canary"], _canary),
        "Retraining": (facts["retraining"], _retraining),
        "Pipeline": (facts["stale"], _stale),
        "Model here": (facts["model"], _model),
        "Git, DVC": (facts["git"], lambda found: _pushed(found, facts["unpushed"])),
    }
    told = []
    for label, (found, words) in parts.items():
        if found["available"]:
            told.append((label, *words(found)))
        else:
            told.append((label, f"not available: {found['why']}", ""))
    return told


def room() -> tuple[int, bool]:
    """The columns of standard output, 80 at least, and whether it is a terminal, on which long words are cut."""
    if sys.stdout.isatty():
        return max(WIDTH, shutil.get_terminal_size((WIDTH, HEIGHT)).columns), True
    columns = os.environ.get("COLUMNS", "")
    return max(WIDTH, int(columns) if columns.isdigit() else 0), False


def text(facts: Facts, width: int = WIDTH, *, cut: bool = True) -> list[str]:
    """The whole screen, at most `width` columns wide and, if it is `cut`, 24 lines high."""
    tracked = facts["git"]
    at = f", {tracked['branch'] or 'no branch'} {tracked['commit'][:8]}" if tracked["available"] else ""
    shown = [f"{facts['project']}{at}, {facts['at'][:16].replace('T', ' ')} UTC"[:width], ""]
    for label, words, _ in lines_of(facts):
        shown += _wrapped(f"{label:<{LABEL}} ", words, width, MOST_LINES if cut else None)
    shown.append("")
    steps = facts["next"]
    if not steps:
        shown.append("Next: nothing, all is as it should be")
    free = HEIGHT - len(shown)
    most = len(steps) if len(steps) <= min(free, MOST_STEPS) or not cut else min(free - 1, MOST_STEPS)
    for number, step in enumerate(steps[:most], 1):
        head = "Next" if number == 1 else ""
        shown += _wrapped(f"{head:<5}{number}. ", f"{step['command']} – {step['why']}", width, 1 if cut else None)
    if len(steps) > most:
        shown.append(f"     and {len(steps) - most} more (--json has all)")
    return shown


def _wrapped(head: str, words: str, width: int, most: int | None) -> list[str]:
    plain = " ".join(words.split())
    return textwrap.wrap(
        plain,
        width,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        max_lines=most,
        placeholder=" …",
        break_on_hyphens=False,
    ) or [head.rstrip()]


def ago(days: float | None) -> str:
    """How long ago, in words."""
    if days is None:
        return "at an unknown time"
    if days < 0:
        return "in the future (by its clock)"
    if days >= 2:
        return f"{days:.0f} days ago"
    hours = days * 24
    return f"{hours:.0f} hours ago" if hours >= 2 else f"{max(hours * 60, 1):.0f} min ago"


def _production(found: Facts) -> tuple[str, str]:
    if found["version"] is None and found["lost"]:
        said = f"the registry has no promotion here; the copy of its log in Git says version {found['lost']}"
        return f"{said}: `sync` and `audit restore` bring it back", "bad"
    logged = f"; the log says version {found['logged']} (see `audit verify`)" if found["logged"] else ""
    if found["version"] is None:
        return f"none yet{logged}", "bad" if logged else ""
    kind = f" ({found['model_type']})" if found["model_type"] else ""
    commit = f", commit {found['commit'][:8]}" if found["commit"] else ""
    when = f"since {found['when'][:10]}, {ago(found['days'])}" if found["when"] else "since an unknown time"
    if logged:  # nothing is known of how it came there
        return f"version {found['version']}{kind}{commit}, by its alias{logged}", "bad"
    who = f", by {found['who'].partition(' <')[0]}: {found['reason']}" if found["who"] else ""
    return f"version {found['version']}{kind}{commit}, {when}{who}", "good"


def _whose(facts: Facts) -> str:
    """Whose the results are, if the model here is not the one in production; it comes first, since a line is cut."""
    number = elsewhere(facts)
    return f"of the model here, not of version {number}: " if number else ""


def _performance(found: Facts, whose: str, late: bool) -> tuple[str, str]:
    delivery = "the delivery before" if late else "the newest delivery"
    metric, test = found["metric"].replace("_", " "), found["test"]
    told = f"{whose}{metric} {_number(test['value'])}"
    if test["low"] is not None:
        told += f" ({_number(test['low'])} to {_number(test['high'])})"
    told += f" on {test['rows']:,} test rows" if test["rows"] else " on the test split"
    told += f", baseline {_number(test['baseline'])}" if test["baseline"] is not None else ""
    real, guess = found["realised"], found["estimated"]
    if real:
        told += f"; {_number(real['value'])} on {delivery}"
        told += f" ({real['rows']:,} labels)" if real["rows"] else ""
    elif guess:
        told += f"; {delivery}: estimated {_number(guess['value'])}"
        told += "" if guess["trusted"] else ", not to be trusted"
    else:
        told += f"; no labels of {delivery} yet"
    return told, ""


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    # Four digits, also where the last ones are zeros.
    return f"{value:#.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _drift(found: Facts, whose: str, late: bool) -> tuple[str, str]:
    told = f"{whose}{found['verdict']}, checked {ago(found['days'])}"
    if late:
        return f"of the delivery before; the newest was not watched yet: {told}", "bad"
    if not found["current"]:
        return f"{told}; not of the delivery, model or code that is here", "bad"
    return told, "bad" if found["alarm"] else "good"


def _incidents(found: Facts, whose: str) -> tuple[str, str]:
    if not found["open"]:
        return "none open", "good"
    several = []
    for one in found["open"]:
        told = f", told {one['told'][:10]}" if one["told"] else ""
        of = f", {whose}" if whose and one["name"] == DRIFT else ""
        several.append(f"{one['title']} ({one['level']}{told}{of})")
    return "; ".join(several), "bad"


def _canary(found: Facts) -> tuple[str, str]:
    route = found["route"]
    if route is None:
        if found["running"]:
            version = f": version {found['answering']} answers" if found.get("answering") else ""
            return f"running here{version}, no canary", ""
        return f"none {'runs' if found['ran'] else 'has run'} here, no canary", ""
    since = f" since {route['since'][:16].replace('T', ' ')}" if route["since"] else ""
    asked = f", {counted(route['requests'], 'request')}" if route["requests"] else ""
    waits = f"; it waits for {route['waits_for']}" if route["waits_for"] else ""
    running = "" if found["running"] else " (no server runs here)"
    return f"{route['described']}{since}{asked}{waits}{running}", "" if route["mode"] == "champion" else "bad" * (
        not found["running"]
    )


def _retraining(found: Facts) -> tuple[str, str]:
    outcome = found["outcome"]
    if outcome is None:
        return "none has run here", ""
    if outcome == "unfinished":
        waits = f": {found['awaited']}" if found["awaited"] else ""
        return f"stopped after {found['step']}, {ago(found['days'])}{waits}", "bad"
    branch = f", branch {found['branch']}{' (merged)' if found['merged'] else ''}" if found["branch"] else ""
    waits = f"; awaited: {found['awaited']}" if found["awaited"] else ""
    return f"{outcome} {ago(found['days'])}{branch}{waits}", ""


def _stale(found: Facts) -> tuple[str, str]:
    if found["never"]:
        return "has not run yet", "bad"
    absent = f"not here: {named(found['absent'], 3)}" if found["absent"] else ""
    if found.get("damaged"):
        return f"damaged in DVC's cache: {named(found['damaged'], 3)}{'; ' + absent if absent else ''}", "bad"
    if lacking := found.get("lacking"):
        gone = [f"{path}/{name}" for path, names in lacking.items() for name in names]
        return f"gone: {named(gone, 3)}; what depends on it waits for that{'; ' + absent if absent else ''}", "bad"
    if not found["stages"]:
        return absent or "nothing has changed since the results were made", "bad" if absent else "good"
    return f"stale: {', '.join(found['stages'])}{'; ' + absent if absent else ''}", "bad"


def _model(found: Facts) -> tuple[str, str]:
    gate = "gate passed" if found["passed"] else f"gate FAILED ({', '.join(found['failed'][:3])})"
    version = f"version {found['version']}" if found["version"] else "not registered"
    if found["version"] and not found["passed"]:
        version = f"the same model is version {found['version']}, which passed with an earlier result"
    version += f" ({found['rolled_back']})" if found.get("rolled_back") else ""
    age = f", made {ago(found['days'])}" if found["days"] is not None else ", in no commit yet"
    limit = f" (limit {found['oldest_days']:g} days)" if found["oldest_days"] else ""
    return f"{gate}, {version}{age}{limit}", "good" if found["passed"] else "bad"


def _pushed(found: Facts, kept: Facts) -> tuple[str, str]:
    told = [counted(found["changed"], "change") + " not committed" if found["changed"] else "all committed"]
    if found["unpushed"] is None:
        told.append("no remote branch" if found["remote"] else "Git has no remote")
    else:
        told.append(f"{counted(found['unpushed'], 'commit')} not pushed" if found["unpushed"] else "commits pushed")
    if not kept["available"]:
        told.append("whether the data is pushed is not known")
    else:
        told.append(f"{counted(kept['objects'], 'object')} of data not pushed" if kept["objects"] else "data pushed")
        if kept.get("there") is False:
            told[-1:] = [*([told[-1]] if kept["objects"] else []), f"the remote {kept['remote']} of DVC is not there"]
    open_ends = found["changed"] or found["unpushed"] or kept.get("objects") or kept.get("there") is False
    return ", ".join(told), "bad" if open_ends else "good"
