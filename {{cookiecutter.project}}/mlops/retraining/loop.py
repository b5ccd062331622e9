"""The loop of a retraining: which steps are left, one after the other, and what came of them."""

from dataclasses import replace
from typing import Any

from mlops.base import locks, params
from mlops.base.errors import ProjectError, counted
from mlops.history import git
from mlops.retraining import journal, steps, workspace
from mlops.retraining.decision import Decision
from mlops.retraining.journal import FOLDER, Journal
from mlops.retraining.steps import Clock, Request, Run
from mlops.retraining.workspace import Start
from mlops.rollout.canary import Say

BUSY = "another `retrain` is running in this project: it goes on, and this one stops"
# Up to the decision, up to the proposal, and what follows with `retrain.auto_merge`.
LOOKING = ("take", "watch")
TRAINING = ("merge", "search", "train")
PROPOSING = ("review", "branch", "push", "propose")
ACCEPTING = ("accept", "register", "promote")
DOING = {
    "take": "taking the newest delivery",
    "watch": "comparing it with the training data",
    "merge": "adding its labelled rows to the training data",
    "search": "searching parameters",
    "train": "running the pipeline",
    "review": "reviewing the result",
    "branch": "making the branch",
    "push": "pushing data, results and the branch",
    "propose": "proposing the branch",
    "accept": "moving the main branch on",
    "register": "registering the model",
    "promote": "bringing it into production",
}


def run(request: Request, *, clock: Clock, alarm: Say, say: Say, dry_run: bool = False) -> dict[str, Any]:
    """Take the newest delivery, decide, and if there is a reason train again and propose the result.

    It works in a clone below `.retrain/`: the work tree, the local main branch and production stay as they are, unless
    `retrain.auto_merge` says otherwise of the last two. What was killed or failed goes on where it was. `alarm` gets
    the sentence of a failure, `say` what is being done. With `dry_run` it stops after the decision, and keeps nothing.

    Raises:
        ProjectError: a step failed, or another retraining is running.
    """
    workspace.prepare()
    with locks.exclusive(FOLDER / "lock", BUSY):
        try:
            return _run(request, clock, say, dry_run=dry_run)
        except Exception as error:
            # The clone is gone: people know the file by its place in the project.
            said = str(error).replace(f"{workspace.place()}/", "")
            if not dry_run:
                alarm(f"retraining failed, and production is as it was: {said}")
            if isinstance(error, ProjectError):
                raise type(error)(said) from None
            raise


def _run(request: Request, clock: Clock, say: Say, *, dry_run: bool) -> dict[str, Any]:
    start = workspace.start()
    kept = Journal(request.identity(), start.commit, path=None) if dry_run else _journal(request, start)
    if kept.outcome:
        return {**kept.outcome, "again": True}
    with workspace.opened(kept.commit) as clone:
        settings = params.load(params.Retrain, clone / params.FILE)
        now = Run(clone, replace(start, commit=kept.base), request, kept, settings, clock, say)
        _do(now, LOOKING, say)
        if "decide" not in kept.steps and (commit := _made_before(now)) and not dry_run:
            say(f"{steps.branch_of(now.start, now['take'])} has the result of this delivery already")
            steps.adopt(now, commit)
        decided = steps.decide(now) if "decide" not in kept.steps else None
        if decided and (dry_run or not decided.retrain):
            outcome = _not_done(now, decided, dry_run=dry_run)
            if request.fresh or dry_run:  # what lies in data/incoming/ is judged again, since time passes
                kept.outcome = outcome
                kept.write()
            return outcome
        if decided:
            kept.finish("decide", decided.as_dict())
            say("\n".join(decided.sentences()))
        _do(now, TRAINING, say)
        if not now["train"]["same"]:
            _do(now, PROPOSING, say)
            if settings.auto_merge:
                _accept(now, say)
        outcome = _outcome(now)
        if not outcome["left"]:
            kept.outcome = outcome
            kept.write()
            workspace.forget()
        return outcome


def _journal(request: Request, start: Start) -> Journal:
    """The journal of the last run, if this run goes on with it or has nothing left to do; else a new one."""
    asked, old = request.identity(), journal.read()
    if old and old.request == asked and git.run("cat-file", "-e", old.commit + "^{commit}", default="no") != "no":
        unmoved, made = old.base == start.commit, old.steps.get("branch", {}).get("commit")
        if not old.outcome and (unmoved or (made and workspace.holds(start.commit, made))):  # it is merged already
            return old
        if old.outcome and unmoved and not request.fresh:
            return old
    fresh = Journal(asked, start.commit)
    if old and not old.outcome and "awaited" in old.notes:
        fresh.notes["before"] = f"awaited of the last retraining: {old.notes['awaited']}"
    return fresh


def _do(now: Run, names: tuple[str, ...], say: Say) -> None:
    for name in names:
        if name not in now.journal.steps:
            if name != "search" or now.settings.search_trials:
                say(DOING[name])
            now.journal.finish(name, getattr(steps, name)(now))


def _made_before(now: Run) -> str:
    return workspace.made_before(now.start, steps.branch_of(now.start, now["take"]), steps.MARK)


def _accept(now: Run, say: Say) -> None:
    """Merge, register and promote, as far as the gate, the host and the rules of promotion let it go."""
    if "accept" not in now.journal.steps:
        say(DOING["accept"])
        facts = steps.accept(now)
        if facts["refused"]:  # it may be merged by a person, or allowed, before the next run
            _await(now, f"not merged automatically: {facts['why']}")
            return
        now.journal.finish("accept", facts)
    if now["accept"]["merged"]:
        _do(now, ACCEPTING[1:2], say)
        if "promote" not in now.journal.steps:
            say(DOING["promote"])
            facts = steps.promote(now)
            if facts["promoted"] or facts.get("rolled_back") or now["register"]["version"] is None:
                now.journal.finish("promote", facts)
            else:
                _await(now, facts["awaited"])


def _await(now: Run, what: str) -> None:
    now.journal.notes["awaited"] = what
    now.journal.write()


def _not_done(now: Run, decided: Decision, *, dry_run: bool) -> dict[str, Any]:
    told = decided.sentences() + ([] if now["take"]["files"] else [f"no new delivery: {now['take']['origin']}"])
    if dry_run and decided.retrain:
        rows = sum(file["labelled"] for file in now["take"]["files"] if not file["known"])
        trials = f", search {counted(now.settings.search_trials, 'trial')}" if now.settings.search_trials else ""
        where = f"push {steps.branch_of(now.start, now['take'])} to {now.start.remote}" if now.start.remote else "make "
        where += "" if now.start.remote else f"the branch {steps.branch_of(now.start, now['take'])}"
        then = ", then merge, register and promote it if every rule holds" if now.settings.auto_merge else ""
        told.append(f"would add {counted(rows, 'row')} to data/raw{trials}, run the pipeline, and {where}{then}")
    state = "would retrain" if decided.retrain else "waiting for labels" if _unlabelled(now, decided) else "not needed"
    return _facts(now, state, decided.as_dict(), told)


def _unlabelled(now: Run, decided: Decision) -> bool:
    return bool(decided.obstacle) and any(not file["labelled"] for file in now["take"]["files"])


def _outcome(now: Run) -> dict[str, Any]:
    """What came of a run that trained."""
    found, decided = now.journal.steps, now["decide"]
    if now["train"]["same"]:
        told = ["the pipeline gives the model that the main branch has: there is nothing to propose"]
        return _facts(now, "unchanged", decided, told)
    made, gate = found["branch"], "passed" if found["train"]["gate"] else "FAILED"
    told = [f"{found['review']['headline']}, gate {gate}", f"the result is the branch {made['name']}"]
    told += [f"it is proposed: {url}"] if (url := found["propose"].get("url")) else []
    awaited, state, left = "", "proposed", []
    accepted = found.get("accept")
    commands = found["propose"].get("commands")
    told += [f"to take it over: {' && '.join(commands)}"] if commands and not (accepted or {}).get("merged") else []
    if now.settings.auto_merge and not accepted:
        awaited, left = now.journal.notes["awaited"], ["accept"]
    if accepted:
        if not accepted["merged"]:
            awaited = f"not merged automatically: {accepted['why']}"
        else:
            number = found["register"]["version"]
            state = "merged"
            told.append(f"it is merged into {now.start.main}, and registered as version {number or 'none'}")
            last = found.get("promote")
            left = [] if last else ["promote"]
            awaited = last["awaited"] if last else now.journal.notes["awaited"]
            if last and last["promoted"]:
                state = "in production"
                told.append(last.get("sentence", f"version {number} is in production"))
            elif last and last.get("rolled_back"):
                state = "rolled back"
                told.append(f"{last['sentence']}; {now.start.main} has its result: revert {made['commit'][:8]} there")
    told += [f"awaited: {awaited}"] if awaited else []
    facts = _facts(now, state, decided, told)
    version = found.get("register", {}).get("version")
    return {**facts, **_made(found), "version": version, "awaited": awaited, "left": left}


def _made(found: dict[str, Any]) -> dict[str, Any]:
    """What a run has made, for a program."""
    return {
        "branch": found["branch"]["name"],
        "commit": found["branch"]["commit"],
        "model": found["train"]["model"],
        "gate": found["train"]["gate"],
        "regression": found["review"]["regression"],
        "request": found["propose"],
        "merged": found.get("accept", {}).get("merged", False),
    }


def _facts(now: Run, state: str, decided: dict[str, Any], told: list[str]) -> dict[str, Any]:
    taken = now["take"]
    delivery = {"origin": taken["origin"], "digest": taken["digest"], "files": taken["files"]}
    facts = {"outcome": state, "base": now.journal.base, "delivery": delivery, "decision": decided}
    told = [*told, *([now.journal.notes["before"]] if "before" in now.journal.notes else [])]
    watched = {"verdict": now["watch"]["verdict"], "watched": now["watch"].get("report")}
    return {**facts, **watched, "awaited": "", "left": [], "told": told}
