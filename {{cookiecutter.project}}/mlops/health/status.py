"""How the project stands: facts from Git, the reports, the registry, the server and the last retraining.

Each part is gathered by itself. What cannot be reached is not available, with the reason, and costs the others nothing.
"""

import json
import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from mlops.alerting import alerts
from mlops.base import environment, files, params
from mlops.base.errors import ProjectError, StoreError, counted
from mlops.health import probes, processes, repository, routes, storage
from mlops.health import versions as stored
from mlops.health.finding import named
from mlops.history import cache, drift_reports, git, paths, revisions
from mlops.monitoring import incidents
from mlops.monitoring.incidents import Level
from mlops.registry import audit, backend, registry
from mlops.registry.ledger import Entry
from mlops.registry.registry import Version
from mlops.retraining import journal
from mlops.rollout import canary, release
from mlops.serving.versions import SERVED

Facts = dict[str, Any]
SECONDS_A_DAY = 86_400
# Without a lock: whoever works here at the moment would find the index locked.
MOVED = re.compile(r"\?\? (before(?:-\d+)?)/")  # of a person, by the first generation
STATUS = ("--no-optional-locks", "status", "--porcelain", "--untracked-files=normal", "--", ".")
DEADLINE = 12.0  # seconds for all parts together
TITLES = {"retraining": "Retraining failed"}
STATUS_SECONDS = 10.0  # for `dvc status`
NO_REMOTE = "DVC has no remote"


def gather(now: datetime, url: str = "") -> Facts:
    """All facts by part; a part that is not available is `{"available": False, "why": a sentence}`.

    `url` is the address of a model server that is to be asked, instead of the one in the environment.
    """
    server = {"url": url or os.environ.get(routes.URL, ""), "option": f" --url {shlex.quote(url)}" if url else ""}
    jobs: dict[str, Callable[[], Facts]] = {
        "registry": _registry,
        "stale": _stale,
        "git": _git,
        "performance": _performance,
        "drift": partial(_drift, now),
        "incidents": _incidents,
        "canary": partial(_canary, server["url"]),
        "retraining": partial(_retraining, now),
        "unpushed": _unpushed,
    }
    found = {name: _told(each) for name, each in probes.together(jobs, DEADLINE)}
    found["production"] = _told(_tried(partial(_production, found["registry"], now)))
    found["model"] = _told(_tried(partial(_model, found["registry"], now)))
    name = _told(_tried(lambda: {"name": params.load(params.Register).name})).get("name") or Path.cwd().name
    facts = {"project": name, "at": now.isoformat(timespec="seconds"), "server": server, **found}
    return {**facts, "next": to_do(facts)}


def _tried(part: Callable[[], Facts]) -> Facts | Exception:
    try:
        return part()
    except Exception as error:  # of any library; a part never costs the others anything
        return error


def _told(found: Facts | Exception) -> Facts:
    if isinstance(found, TimeoutError):
        return {"available": False, "why": "no answer in time"}
    if isinstance(found, ProjectError):
        return {"available": False, "why": str(found)}
    if isinstance(found, ImportError) and (said := environment.unusable(found)):
        return {"available": False, "why": said}
    if isinstance(found, Exception):
        return {"available": False, "why": f"it failed with {type(found).__name__}"}
    return {"available": True, **found}


def _days(moment: str, now: datetime) -> float | None:
    """The days since a moment in ISO 8601; None if it cannot be read."""
    try:
        at = datetime.fromisoformat(moment)
    except (ValueError, TypeError):
        return None
    return (now - (at if at.tzinfo else at.replace(tzinfo=UTC))).total_seconds() / SECONDS_A_DAY


def _report(path: Path) -> Any:
    """The content of a report.

    Raises:
        StoreError: it is not there, or no JSON.
    """
    if not path.exists():
        raise StoreError(f"{path} is not there yet")
    return files.read_json(path)


def _git() -> Facts:
    commit = git.run("rev-parse", "--verify", "--quiet", "HEAD", default="").strip()
    if not commit:
        inside = git.run("rev-parse", "--git-dir", default="")
        raise StoreError("there is no commit yet" if inside else "this is no Git repository")
    changed = git.run(*STATUS, default="").splitlines()
    ahead = git.run("rev-list", "--count", "@{upstream}..HEAD", default="").strip()
    unmerged = git.run("ls-files", "--unmerged", default="").splitlines()
    conflicts = sorted({line.partition("\t")[2] for line in unmerged})
    branch = git.run("branch", "--show-current", default="").strip()
    remotes = git.run("remote", default="").split()
    begun = repository.unfinished(Path(git.run("rev-parse", "--absolute-git-dir").strip()))
    return {
        "commit": commit,
        "branch": branch,
        "changed": len(changed),
        "moved": [found[1] for line in changed if (found := MOVED.fullmatch(line))],
        "conflicts": conflicts,
        "marks": {path.as_posix(): command for path, command in repository.marked()},
        "begun": [{"what": what, "command": command} for what, command in begun],
        "unpushed": int(ahead) if ahead else None,
        "remote": remotes[0] if remotes else "",
    }


def _registry() -> Facts:
    """The versions (newest first), the audit log, and the newest version that is neither in production nor older."""
    settings, tracked = params.load(params.Register), params.load(params.Tracking)
    address = backend.address(tracked.uri)
    versions, entries = stored.read(tracked.uri, settings.name)
    approved = {each.number: bool(audit.approvals(entries, each)) for each in versions}
    told = [
        {**each.as_dict(), "approved": approved[each.number], "rolled_back": _rolled_back(entries, each)}
        for each in versions
    ]
    place = storage.without_secrets(address)
    return {"versions": told, "entries": entries, "approval": settings.approval, "store": place}


def _rolled_back(entries: Sequence[Entry], version: Version) -> str:
    """When, by whom and why a version was rolled back, if nobody has promoted it since; else ""."""
    if last := release.taken_back(entries, version):
        reason = str(last["reason"]).removeprefix(canary.ROLLED_BACK.format(version.number))
        return f"rolled back on {last['when'][:10]} by {last['who'].partition(' <')[0]} ({reason})"
    return "rolled back by its canary" if version.tags.get(registry.STAGE) == "rejected" else ""


def _production(known: Facts, now: datetime) -> Facts:
    """What is in production since when, by whom and why: by the registry, else by the copy of its log in Git."""
    entries = known["entries"] if known["available"] else audit.mirrored()
    changes = audit.changes(entries)
    champion = next((each for each in known.get("versions", []) if registry.CHAMPION in each["aliases"]), None)
    origin = "registry" if known["available"] else paths.AUDIT.as_posix()
    if champion is None and (known["available"] or not changes):
        if not known["available"]:
            raise StoreError(f"the registry is not available, and {paths.AUDIT} has no promotion: {known['why']}")
        back = stored.lost(entries) if known["available"] else None
        return {
            "version": None,
            "from": origin,
            "lost": str(back["to"]) if back else "",
            "logged": stored.moved(known["versions"], entries),
        }
    # Of an alias that was moved outside of the log, the log has no words.
    logged = stored.moved(known["versions"], entries) if champion else ""
    last = changes[-1] if changes and not logged else {}
    version = champion["version"] if champion else str(last.get("to"))
    facts = {name: last.get(name, "") for name in ("when", "who", "reason", "action", "commit")}
    if champion:
        facts["commit"] = champion.get("commit", facts["commit"])
    kind = champion.get("model_type", "") if champion else ""
    digest = (champion or last).get("model_digest", "")
    own = {"version": version, "model_type": kind, "model_digest": digest, "days": _days(facts["when"], now)}
    return {**own, **facts, "from": origin, "lost": "", "logged": logged}


def _model(known: Facts, now: datetime) -> Facts:
    """The model that is checked out: whether it passed the gate, is registered, and its age in days."""
    report = _report(paths.REGISTRATION)
    digest, passed = str(report.get("model_digest", "")), bool(report.get("passed"))
    failed = [rule["rule"] for rule in report.get("rules", []) if not rule.get("passed")]
    committed = git.run("show", f"HEAD:./{paths.REGISTRATION.as_posix()}", default="")
    asked = ("log", "--format=%ct", f"-S{digest}", "HEAD", "--", paths.REGISTRATION.as_posix())
    times = git.run(*asked, default="").split() if digest else []
    age = (now.timestamp() - int(times[-1])) / SECONDS_A_DAY if times else None
    same = [one for one in known.get("versions", []) if one.get("model_digest") == digest]
    own: Mapping[str, Any] = same[0] if same else {}
    commit = own.get("commit", "")
    parents = git.run("rev-list", "--parents", "--max-count=1", commit, default="").split()[1:] if commit else []
    settings = params.load(params.Retrain)
    return {
        "digest": digest,
        "passed": passed,
        "failed": failed,
        "committed": bool(digest) and digest in committed,
        "version": own.get("version"),
        "rolled_back": own.get("rolled_back", ""),
        "revert": f"git revert --no-edit {'-m 1 ' if len(parents) > 1 else ''}{commit[:8]} && dvc checkout",
        "days": age,
        "oldest_days": settings.oldest_days,
        "enforced": params.load(params.Register).mode == "enforce",
    }


def _performance() -> Facts:
    """The headline metric on the test split with its interval, and what is known of the newest delivery."""
    metrics, evaluation = _report(paths.METRICS), _report(paths.EVALUATION)
    baseline = files.read_json(paths.BASELINE) if paths.BASELINE.is_file() else {}
    rows = files.read_json(paths.DATASET).get("split", {}).get("test") if paths.DATASET.is_file() else None
    metric = str(evaluation["headline"])
    low, high = (evaluation.get("intervals", {}).get(metric) or [None, None])[:2]
    test = {"value": metrics[metric], "low": low, "high": high, "baseline": baseline.get(metric), "rows": rows}
    drift = files.read_json(paths.DRIFT) if paths.DRIFT.is_file() else {}
    answers = drift.get("predictions") or {}
    realised = (answers.get("metrics") or {}).get(metric)
    labelled = (answers.get("labelled") or {}).get("rows")
    guess = drift.get("estimated") or {}
    estimated = (guess.get("metrics") or {}).get(metric)
    return {
        "metric": metric,
        "test": test,
        "realised": None if realised is None else {"value": realised, "rows": labelled},
        "estimated": {**estimated, "trusted": bool(guess.get("trusted"))} if estimated else None,
    }


def _drift(now: datetime) -> Facts:
    """What monitor said of the newest delivery, when, and whether that is still the delivery that is here."""
    settings = params.load(params.Monitor)
    report = _report(paths.DRIFT)
    last = git.run("log", "-1", "--format=%aI", "--", paths.DRIFT.as_posix(), default="").strip()
    dirty = git.run("diff", "--quiet", "HEAD", "--", paths.DRIFT.as_posix(), default="differs") != ""
    written = datetime.fromtimestamp(paths.DRIFT.stat().st_mtime, UTC).isoformat(timespec="seconds")
    at = written if dirty or not last else last
    facts = {"verdict": str(report["verdict"]), "alarm": bool(report["alarm"]), "checked": at, "days": _days(at, now)}
    facts |= {"retraining": bool(report["retraining"]["recommended"]), "delivery": report.get("delivery") is not None}
    try:
        newest = drift_reports.newest(settings)
    except StoreError as error:
        return {**facts, "current": False, "why_not": str(error)}
    recent = newest.recent
    return {
        **facts,
        "alarm": recent.alarm,
        "retraining": recent.retraining,
        "current": True,
        "verdict": newest.sentence,
    }


def _last_check(settings: params.Monitor) -> drift_reports.Newest:
    """The check of the delivery that is here, else the one before: an incident stands until the next check.

    Raises:
        StoreError: there is no report that can be used.
    """
    try:
        return drift_reports.newest(settings)
    except StoreError:
        at = datetime.fromtimestamp(paths.DRIFT.stat().st_mtime, UTC) if paths.DRIFT.is_file() else datetime.now(UTC)
        return drift_reports.among_others(_report(paths.DRIFT), settings, at.isoformat(timespec="seconds"))


def _incidents() -> Facts:
    """What is open: the drift by the last check, and what the channels were told and is not over."""
    found: dict[str, Facts] = {}
    if alerts.STATE.is_file():
        try:
            remembered = json.loads(alerts.STATE.read_text(encoding="utf-8"))
            for name, known in remembered.items():
                level, at = Level(known["level"]), datetime.fromtimestamp(float(known["checked"]), UTC)
                told = max([each["at"] for each in known["told"].values()], default=at.isoformat())
                found[name] = {"name": name, "level": level.name, "told": told[:19], "title": TITLES.get(name, name)}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise StoreError(f"{alerts.STATE} cannot be read: delete it, and what stands is told once more") from None
    try:
        newest = _last_check(params.load(params.Monitor))
        now = incidents.of_drift(newest.report, newest.recent, newest.sentence)
        told = found.get(now.name, {}).get("told", "")
        found[now.name] = {"name": now.name, "level": now.level.name, "told": told, "title": now.title}
    except ProjectError:
        pass  # the line about drift says why
    return {"open": [each for each in found.values() if each["level"] != "ok"]}


def _canary(url: str) -> Facts:
    """The route of the server that is asked, else of the state on disk."""
    if url:
        return {"route": routes.of_server(url), "running": True, "ran": True, "answering": ""}
    folder = Path(params.load(params.Serving).folder)
    running = bool(processes.at_work(Path(), "mlops", "serve")) if folder.is_dir() else False
    told = {"route": routes.on_disk(folder), "running": running, "ran": (folder / SERVED).is_file()}
    return {**told, "answering": routes.answering(folder)}


def _retraining(now: datetime) -> Facts:
    kept = journal.read()
    if kept is None:
        return {"outcome": None}
    at = datetime.fromtimestamp(journal.STATE.stat().st_mtime, UTC)
    done = kept.outcome
    facts = {"at": at.isoformat(timespec="seconds"), "days": (now - at).total_seconds() / SECONDS_A_DAY}
    if not done:
        step = list(kept.steps)[-1] if kept.steps else "the start"
        awaited = str(kept.notes.get("awaited", ""))
        return {**facts, "outcome": "unfinished", "step": step, "awaited": awaited, "branch": "", "merged": False}
    branch = str(done.get("branch") or "")
    merged = bool(done.get("merged")) or _is_merged(str(done.get("commit") or ""))
    told = {"outcome": done["outcome"], "step": "", "branch": branch, "merged": merged}
    return {**facts, **told, "awaited": str(done.get("awaited") or ""), "gate": done.get("gate")}


def _is_merged(commit: str) -> bool:
    return bool(commit) and git.run("merge-base", "--is-ancestor", commit, "HEAD", default="no") != "no"


def _stale() -> Facts:
    """The stages that are not what the pipeline gives; without DVC at work, by code and parameters alone."""
    if not paths.LOCK.is_file():
        return {"stages": [], "never": True, "incoming": False, "absent": [], "pull": False}
    note, damaged = "", []
    try:
        damaged = sorted(set(storage.damaged().values()))  # DVC would remove some of it without a word
        stages = revisions.find("").stale() if damaged else storage.stale(STATUS_SECONDS)
    except StoreError as error:
        stages, note = revisions.find("").stale(), str(error)
    incoming = paths.INCOMING.as_posix()
    now = revisions.find("")
    watched = next((one["md5"] for one in now.stages.get("monitor", {}).get("deps", []) if one["path"] == incoming), "")
    newer = f"{incoming}.dvc" in stages or (
        bool(watched) and watched != now.data(incoming) and bool(now.data(incoming))
    )
    absent = storage.absent()
    pull = bool(absent) and any(path in storage.missing() for path in absent)
    data = [name.removesuffix(".dvc") for name in stages if name.endswith(".dvc")]
    told = {"stages": stages, "never": False, "incoming": newer, "absent": absent, "pull": pull, "note": note}
    return {**told, "damaged": damaged, "lacking": storage.only_missing(data), "record": storage.recorded(data)}


def _unpushed() -> Facts:
    """How many objects are here and not in the remote; only a folder is looked at: others take seconds to be asked."""
    settings = storage.config()
    name = settings.get("core", {}).get("remote")
    if not name:
        raise StoreError(f"{NO_REMOTE}: `dvc remote add --default storage PATH-OR-URL`")
    url = str(settings.get("remote", {}).get(name, {}).get("url", ""))
    if "://" in url:
        raise StoreError("a remote elsewhere is asked by `python -m mlops doctor`")
    folder = Path(url)
    here = {one for several in storage.objects().values() for one in several if cache.path_of(one).is_file()}
    absent = [one for one in here if not (folder / storage.key(one)).is_file()]
    return {"objects": len(absent), "there": folder.is_dir(), "remote": name, "place": url}


def elsewhere(facts: Mapping[str, Any]) -> str:
    """The version in production, if the model that is checked out, whose results are here, is another one; else ""."""
    production, here = facts["production"], facts["model"]
    known, own = production.get("model_digest"), here.get("digest")
    return str(production["version"]) if known and own and known != own else ""


def to_do(facts: Mapping[str, Any]) -> list[dict[str, str]]:
    """What to do next, the most pressing first: each with the command and the reason."""
    steps: list[tuple[str, str]] = []
    drift, stale, model, production = facts["drift"], facts["stale"], facts["model"], facts["production"]
    known, tracked, again = facts["registry"], facts["git"], facts["retraining"]
    if conflicts := tracked.get("conflicts"):
        steps.append(("python -m mlops resolve", f"in conflict: {', '.join(conflicts[:3])}"))
    for name, command in (tracked.get("marks") or {}).items():
        steps.append((command, f"{name} has the marks of a merge in it"))
    in_conflict = bool(steps)
    steps += _server(facts)
    if in_conflict:  # nothing else can be known, and a commit would keep the marks
        return _each_once(steps)
    steps += _absent(stale, facts["unpushed"])
    if number := production.get("lost"):
        steps.append((stored.BACK, f"the registry here lacks what Git has: version {number} is in production"))
    elif (number := production.get("logged")) and (why := stored.unknown(known["versions"], known["entries"])):
        steps.append((stored.OTHER, f"by the log, {why}"))
    elif number:
        steps.append(("python -m mlops audit verify", f"the log says that version {number} is in production"))
    other = elsewhere(facts)
    if other and model.get("rolled_back"):
        why = f"version {model['version']}, which is here, was {model['rolled_back']}: revert it, or make a better one"
        steps.append((model["revert"], why))
    for one in facts["incidents"].get("open", []):
        of_drift = one["name"] == incidents.DRIFT
        again_now = one["name"] == "retraining" or (of_drift and drift.get("retraining"))
        why = f"{one['title']} (by the model here, not by version {other})" if of_drift and other else one["title"]
        steps.append((f"python -m mlops {'retrain' if again_now else 'monitor history'}", why))
    steps += _pipeline(stale)
    if model.get("failed") and not stale.get("stages"):
        why = f"the gate refused the model here ({', '.join(model['failed'][:3])}): mend it, or the rule"
        steps.append(("less reports/model_card.md", why))
    if again.get("outcome") == "unfinished":
        steps.append(("python -m mlops retrain", again["awaited"] or f"it stopped after {again['step']}"))
    elif again.get("outcome") == "proposed" and again["branch"] and not again["merged"]:
        steps.append((f"git merge {again['branch']}", "the last retraining proposes it"))
    if begun := tracked.get("begun"):
        steps.append((begun[0]["command"], f"{begun[0]['what']} is not finished"))
    elif moved := tracked.get("moved"):
        why = "what the generation moved: take over what you need, name your data in .gitignore, and delete it"
        steps.append((f"ls -A {' '.join(moved)}", why))
    elif tracked.get("changed"):
        steps.append(("git add --all && git commit", f"{counted(tracked['changed'], 'change')} not committed"))
    if facts["unpushed"].get("objects"):
        steps.append(("dvc push", f"{counted(facts['unpushed']['objects'], 'object')} on this machine alone"))
    if tracked.get("unpushed"):
        steps.append(("git push", f"{counted(tracked['unpushed'], 'commit')} on this machine alone"))
    recorded = model.get("version") or production.get("lost")  # what brings back the log records the result as well
    if known["available"] and model.get("passed") and model["enforced"] and model["committed"] and not recorded:
        steps.append(("python -m mlops sync", "the committed result is not registered"))
    if not model.get("failed") and not production.get("lost") and not production.get("logged"):
        steps += _promotion(facts)
    if model.get("oldest_days") and (model["days"] or 0) > model["oldest_days"]:
        steps.append(("python -m mlops retrain", f"the model is {model['days']:.0f} days old"))
    elif not steps and drift.get("retraining"):
        steps.append(("python -m mlops retrain", drift["verdict"]))
    if missing := [name for name in ("registry", "git") if not facts[name]["available"]]:
        steps.append(("python -m mlops doctor", f"not available: {', '.join(missing)}"))
    return _each_once(steps)


def _each_once(steps: list[tuple[str, str]]) -> list[dict[str, str]]:
    several = dict(reversed(steps))  # of one command, the first reason
    return [{"command": command, "why": several[command]} for command in dict(steps)]


def _server(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What to do about a server that is configured and does not answer."""
    server, found = facts.get("server") or {}, facts["canary"]
    if not server.get("url") or found["available"]:
        return []
    if routes.KEY in found["why"]:
        return [(f"export {routes.KEY}=…", found["why"])]
    return [(f"python -m mlops serving status{server['option']}", f"the server does not answer: {found['why']}")]


def _absent(stale: Mapping[str, Any], kept: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What brings back the files that DVC has and the work tree lacks."""
    damaged, steps = stale.get("damaged") or [], []
    if damaged:
        steps.append(("python -m mlops doctor", f"damaged in DVC's cache: {', '.join(damaged[:3])}"))
    if not (absent := [path for path in stale.get("absent") or [] if path not in damaged]):
        return steps
    why, command = f"not here: {', '.join(absent[:3])}", f"dvc {'pull' if stale['pull'] else 'checkout'}"
    if stale["pull"] and kept.get("there") is False:
        command = f"dvc remote modify --local {kept['remote']} url PATH && dvc pull"
        why += f"; nor is the remote {kept['remote']} ({kept['place']})"
    elif stale["pull"] and kept.get("why", "").startswith(NO_REMOTE):
        command, why = "dvc remote add --default storage PATH-OR-URL && dvc pull", f"{why}; {NO_REMOTE}"
    return [*steps, (command, why)]


def _pipeline(stale: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What makes the results those of the data, code and parameters that are here."""
    if stale.get("never"):
        return [("dvc repro", "the pipeline has not run yet")]
    if lacking := stale.get("lacking"):
        gone = [f"{path}/{name}" for path, names in lacking.items() for name in names]
        why = f"gone, and nothing else of it has changed: {named(gone, 2)} (if that was meant: `{stale['record']}`)"
        return [(storage.brought_back(list(lacking)), why)]
    if stages := stale.get("stages"):
        data = [name.removesuffix(".dvc") for name in stages if name.endswith(".dvc")]
        why = "the newest delivery was not watched yet" if stale["incoming"] else f"stale: {', '.join(stages[:4])}"
        return [(storage.recorded(data), why)]
    return []


def _promotion(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the newest version waits for, if it is newer than the one in production and was not rolled back."""
    known, production = facts["registry"], facts["production"]
    versions = known.get("versions", [])
    if not versions or registry.CHALLENGER not in versions[0]["aliases"] or versions[0].get("rolled_back"):
        return []
    newest, number = versions[0], versions[0]["version"]
    if production.get("version") is not None and int(number) <= int(production["version"]):
        return []
    server, found = facts.get("server") or {}, facts["canary"]
    route = found.get("route") or {}
    is_here = facts["model"].get("version") == number
    if route.get("challenger") == number and route["mode"] != "champion":
        why = f"version {number} is in its {route['mode']}: wait for what comes of it"
        if not found["running"]:
            return [("python -m mlops serve", f"{why}; no server runs here, and the next one goes on with it")]
        if server.get("url") and is_here:
            return [(f"python -m mlops deliver{server['option']}", why)]
        return [(f"python -m mlops serving status{server.get('option', '')}", why)]
    if not newest.get("commit"):
        return [("python -m mlops sync", f"version {number} does not know its commit yet")]
    if known["approval"] == "required" and not newest["approved"]:
        return [(f'python -m mlops approve {number} --reason "…"', f"version {number} waits for an approval")]
    why = f"version {number} can go into production"
    if server.get("url"):  # what is promoted at once would answer all requests
        begun = f'python -m mlops serving route canary --challenger {number} --reason "…"'
        return [(f"{'python -m mlops deliver' if is_here else begun}{server['option']}", f"{why}, by a canary")]
    return [(f'python -m mlops promote {number} --reason "…"', why)]
