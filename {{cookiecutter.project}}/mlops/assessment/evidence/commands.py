"""What shell commands do: which tests, pipelines, deliveries and other steps they really start."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

# Words before a command that only say where or how it runs; with the number of words that they take along.
WRAPPERS = {"poetry run": 0, "uv run": 0, "pipenv run": 0, "pdm run": 0, "rye run": 0, "hatch run": 0, "pixi run": 0}
WRAPPERS |= {"conda run": 0, "micromamba run": 0, "sudo": 0, "time": 0, "exec": 0, "env": 0, "nohup": 0, "xvfb-run": 0}
WRAPPERS |= {"if": 0, "then": 0, "else": 0, "do": 0, "!": 0, "coverage run": 0, "uvx": 0, "pipx run": 0, "{": 0, "(": 0}
WRAPPERS |= {"timeout": 1, "-n": 1, "--name": 1, "-p": 1, "--with": 1, "--group": 1, "--extra": 1, "--python": 1}
WRAPPERS |= {"inv": 0, "invoke": 0, "poe": 0, "mise run": 0, "mise exec": 0, "hatch": 0, "pdm": 0}
WRAPPERS |= {"--directory": 1, "--project": 1, "--package": 1, "--env-file": 1}
# The runners whose tasks a repository defines (see `tasks`), by the words that start one.
RUNNERS = {
    "inv": "invoke",
    "invoke": "invoke",
    "hatch run": "hatch",
    "pdm run": "pdm",
    "pixi run": "pixi",
    "poe": "poe",
}
RUNNERS |= {"rye run": "rye", "pipenv run": "pipenv", "mise run": "mise", "$(MAKE)": "make", "${MAKE}": "make"}
RUNNERS |= {name: name for name in ("make", "just", "task", "nox", "tox")}
ONLY_TASKS = frozenset({"make", "just", "task", "invoke", "nox", "tox", "poe", "mise"})  # the others start any program
SEVERAL = frozenset({"make", "task", "invoke"})  # take more than one task at once
NAMED_BY = frozenset({"-s", "-e", "--session", "--sessions", "-f"})  # options of nox and tox before a task
TAKE_A_WORD = frozenset({"-C", "--directory", "-f", "--file", "--justfile", "-d", "--dir", "-j", "-c", "--collection"})
PYTHON = re.compile(r"(?:.*/)?python[0-9.]*(?:\.exe)?$|\$\{?(?:PYTHON|PY)\w*\}?$")
# What a container is started with, up to a command that is known.
CONTAINER = re.compile(r"^docker(?:-| )(?:compose )?(?:run|exec) .*?(?=\b(?:pytest|tox|nox|dvc repro)\b)")
LONGEST = 10_000  # characters of a command; a longer one is data
SILENT = ("echo", "printf", ":", "true", "false", "cat", "grep", "which", "command", "exit", "fi", "done")
DEFINES = re.compile(r"\s*(?:function\s+([\w-]+)(?:\s*\(\))?|([\w-]+)\s*\(\))(?=\s|\{|$)")
LINKS = {"||": ("true", ":"), "&&": ("false",)}  # what is not reached after which command
# Options with which a command only says what it would do, what it is, or how it is used.
IDLE = {"--help", "--dry", "--dry-run", "--dryrun", "--just-print", "--recon", "--collect-only", "--co", "--setup-plan"}
IDLE |= {
    "--dry-run=client",
    "--dry-run=server",
    "--dry-run=true",
    "--fixtures",
    "--markers",
    "--notest",
}
IDLE_AS_N = ("make", "snakemake", "just", "bash", "sh")  # for these, -n is one of them
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=\S*$")
TRAINS = re.compile(
    r"(?:^|[/._-])(?:re)?train(?:ing|er)?(?:[/._-]|$)|(?:^|[/._-])(?:ml_?|run_?|train_?)?pipelines?(?:[._-]|$)", re.I
)

# What a command does, by its first words. The order counts: the first that fits.
DEEDS: list[tuple[str, re.Pattern[str]]] = [
    (kind, re.compile(rf"(?:{pattern})(?:\s|$)"))
    for kind, pattern in [
        ("test", r"(?:bazel|bazelisk|\./pants|pants|buck2?) test"),
        (
            "test",
            r"pytest|py\.test|tox|nox|unittest|ward|nose2?|(?:hatch|poe) tests?|tests?$",
        ),
        ("retrain", r"mlops retrain"),
        ("deliver", r"mlops (?:deliver|promote|serve)"),
        ("watch", r"mlops (?:check-drift|alert|monitor)"),
        ("review", r"mlops review|cml (?:comment|send-comment|pr)|dvc (?:metrics|plots) diff"),
        ("pipeline", r"mlops (?:reproduce|sweep)|dvc (?:repro|exp run|experiments run|stage run)|mlflow run|kedro run"),
        (
            "pipeline",
            r"zenml pipeline run|prefect deployment run|dagster (?:job|asset|pipeline)\b.*|snakemake|metaflow",
        ),
        ("pipeline", r"airflow dags (?:trigger|test)|databricks bundle run|az ml job create|kfp run.*|guild run"),
        ("pipeline", r"gcloud ai (?:custom-jobs|pipelines).*|aws sagemaker (?:create-training-job|start-pipeline).*"),
        ("pipeline", r"papermill|jupyter nbconvert .*--execute.*|ploomber build|pyflyte run"),
        ("deliver", r"kubectl (?:apply|rollout|set image|replace).*|helm (?:upgrade|install).*|kustomize build.*"),
        ("deliver", r"databricks bundle deploy|gcloud (?:run|app|functions) deploy|gcloud ai endpoints deploy-model"),
        ("deliver", r"aws (?:sagemaker (?:create|update)-endpoint|ecs update-service|lambda update-function-code).*"),
        (
            "deliver",
            r"az (?:ml (?:online|batch)-(?:deployment|endpoint)|webapp|containerapp|functionapp).*|flyctl deploy",
        ),
        ("deliver", r"fly deploy|bentoml (?:deploy|deployment).*|serverless deploy|sls deploy|cdk deploy|pulumi up"),
        (
            "deliver",
            r"terraform apply|tofu apply|mlflow (?:deployments|sagemaker) .*|docker(?: image| buildx)? push|seldon .*",
        ),
        (
            "deliver",
            r"heroku container:release|git push (?:heroku|hf|space).*|modal deploy|truss push|cog push|argocd app sync",
        ),
        ("check", r"great_expectations checkpoint run|gx checkpoint run|soda scan|dbt test|frictionless validate"),
        ("materialise", r"feast (?:apply|materialize).*"),
        (
            "fetch",
            r"mlops ingest|dvc (?:import|import-url|update|get|get-url)|dbt (?:run|build)|airbyte|meltano (?:run|elt)",
        ),
        ("push", r"dvc push|lakectl commit|git lfs push"),
    ]
]


@dataclass(frozen=True)
class Command:
    """One simple command of a script: its words, its line in the file, and whether its failure is overlooked."""

    words: tuple[str, ...]
    line: int
    tolerated: bool = False
    runner: str = ""  # whose task it may be

    @cached_property
    def text(self) -> str:
        """The command without what only says how it runs."""
        return " ".join(self.words)

    @cached_property
    def deed(self) -> str:
        """What it does: test, pipeline, retrain, deliver, watch, check, …; "" if that is not known."""
        text = CONTAINER.sub("", self.text)
        for kind, pattern in DEEDS:
            if pattern.match(text):
                return kind
        if (script := self.script) and not self.text.startswith(("bash ", "sh ")) and TRAINS.search(script):
            return "pipeline"
        return ""

    @cached_property
    def is_idle(self) -> bool:
        """Whether it only says what it would do, such as with `--dry-run`, `--help` or `--version`."""
        words = self.words[1:]
        own = words[: words.index("--")] if "--" in words else words
        if any(word in IDLE for word in own) or own[-1:] in (("--version",), ("-h",)):
            # Some take a value: `--dry-run=none`, and `--dry-run none` of old ones, really do it.
            return ("--dry-run", "none") not in pairwise(own)
        return self.words[0] in IDLE_AS_N and "-n" in own

    @cached_property
    def script(self) -> str:
        """The file or module of the repository that it runs, such as `src/train.py` or `package.train`; else ""."""
        words = [word for word in self.words if not word.startswith("-")]
        if not words:
            return ""
        if words[0] in ("bash", "sh", "source", ".", "papermill") and len(words) > 1:
            return words[1].removeprefix("./")
        if words[0].startswith("./") or words[0].endswith((".py", ".sh", ".ipynb")):
            return words[0].removeprefix("./")
        if words[0] == "jupyter":
            return next((word for word in words if word.endswith(".ipynb")), "")
        return words[0] if self.words[0] == words[0] and re.fullmatch(r"\w+(?:\.\w+)+", words[0]) else ""

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """The tasks of its runner that it names; ("",) of make and the like that name none."""
        if not self.runner:
            return ()
        words = self.words[RUNNERS.get(self.words[0]) == self.runner :]
        if self.runner in ("nox", "tox"):
            return tuple(one for name, after in pairwise(words) if name in NAMED_BY for one in after.split(","))
        pairs = pairwise(("", *words))
        plain = [word for before, word in pairs if word[0] != "-" and "=" not in word and before not in TAKE_A_WORD]
        names = plain if self.runner in SEVERAL else plain[:1]
        return tuple(name.rpartition(":")[2] if self.runner == "hatch" else name for name in names) or ("",)

    @property
    def folder(self) -> str:
        """The folder that make or just is sent to; "" if none."""
        options = ("-C", "--directory", "-d", "--dir")
        return next((word for option, word in pairwise(self.words) if self.runner and option in options), "")


def commands(script: str, line: int = 1) -> Iterator[Command]:
    """The simple commands of a shell script that begins at a line of its file; comments and `echo` are none.

    What is never reached is left out: the other side of `true ||` and `if false`, and functions that nothing calls.
    """
    found = list(_live(script, line))
    last = len(found) - 1
    for place, (command, is_watched) in enumerate(found):
        # After `set +e` only the last command still decides about the script.
        yield command if is_watched or place == last else replace(command, tolerated=True)


def _live(script: str, line: int) -> Iterator[tuple[Command, bool]]:
    """The commands that are reached, each with whether the script ends when it fails."""
    blocks: list[bool] = []  # of each block around, whether it is reached
    functions: dict[str, list[Command]] = {}
    name, depth = "", 0  # of the function that is being defined
    is_watched, keeps_code = True, bool(re.search(r"exit +[\"']?\$", script))
    for text, at in _lines(script, line):
        before, previous, is_reached = "", "", True
        for part, after, following in _parts(text):
            opened = DEFINES.match(part) if not name else None
            if opened:
                name, depth, part = opened[1] or opened[2], 0, part[opened.end() :]
                functions[name], has_begun = [], False
            raw = part.split()
            if before in ("", ";", "|"):
                is_reached = True
            elif blocked := LINKS.get(before):
                is_reached = is_reached and previous not in blocked
            link, previous, before = before, raw[0] if raw else "", after
            _nest(blocks, raw)
            words, runner = _words(part)
            closes = False
            if name:
                depth += raw.count("{") - raw.count("}")
                has_begun = has_begun or "{" in raw
                closes = has_begun and depth <= 0
            is_live = is_reached and all(blocks)
            if is_live and not name and words[:1] == ("set",):
                is_watched = "+e" not in words or keeps_code
            if is_live and words and words[0][0] not in "-[}" and words[0] not in SILENT:
                tolerated = after == "||" and following[:1] in (["true"], [":"], ["echo"], ["exit"])
                tolerated = tolerated and (following[0] != "exit" or following[1:2] == ["0"])
                for command in _inner(Command(words, at, tolerated, runner)):
                    if name:
                        functions[name].append(command)
                    elif command.words[0] in functions:
                        for called in functions[command.words[0]]:
                            kept = called.tolerated or command.tolerated
                            yield replace(called, tolerated=kept), is_watched
                    elif not command.is_idle:
                        yield command, is_watched
            if closes:
                functions[name] = [one for one in functions[name] if not one.is_idle]
                name = ""
            ends = raw == ["exit", "0"] and link in ("", ";") and not (blocks or name or closes)
            if ends and not set(text) & set("{("):
                return


def _nest(blocks: list[bool], raw: list[str]) -> None:
    """Follow the blocks of a shell into and out of which these words lead."""
    word, condition = (raw[0] if raw else ""), raw[1:]
    if word in ("if", "while", "until"):
        blocks.append(condition != (["true"] if word == "until" else ["false"]))
    elif word in ("for", "case", "select"):
        blocks.append(True)
    elif word == "elif" and blocks:
        blocks[-1] = condition != ["false"]
    elif word == "else" and blocks:
        blocks[-1] = True
    elif word in ("fi", "done", "esac") and blocks:
        blocks.pop()


def _inner(command: Command) -> Iterator[Command]:
    """The commands that a shell gets as a text, or the command itself."""
    words = command.words
    if words[0] in ("bash", "sh", "zsh") and len(words) > 2:
        given = next((place for place, word in enumerate(words[1:-1], 1) if re.fullmatch(r"-\w*c", word)), 0)
        if given and len(words[given + 1]) < len(command.text):
            for one in commands(words[given + 1], command.line):
                yield replace(one, line=command.line, tolerated=one.tolerated or command.tolerated)
            return
    yield command


def _lines(script: str, line: int) -> Iterator[tuple[str, int]]:
    """The lines of a script, those joined that go on, without the texts that it gives to commands."""
    waiting, start, heredoc = "", line, ""
    for number, text in enumerate(script.splitlines(), line):
        if heredoc:
            heredoc = "" if text.strip() == heredoc else heredoc
            continue
        if not waiting:
            start = number
        waiting += text
        if text.rstrip().endswith("\\"):
            waiting = waiting.rstrip()[:-1] + " "
            continue
        if found := re.search(r"<<-?\s*['\"]?(\w+)['\"]?", waiting):
            heredoc = found[1]
            waiting = waiting[: found.start()]
        yield waiting, start
        waiting = ""


def _parts(text: str) -> Iterator[tuple[str, str, list[str]]]:
    """Each simple command of a line, what links it to the next one, and the words of that."""
    parts, start, quoted, plain = [], 0, "", _without_comment(text) if len(text) <= LONGEST else ""
    for found in re.finditer(r"\\.|['\"]|&&|\|\||;|\|", plain):
        sign = found[0]
        if quoted:
            quoted = "" if sign == quoted else quoted
        elif sign in "'\"":
            quoted = sign
        elif sign[0] != "\\":
            parts += [plain[start : found.start()], sign]
            start = found.end()
    parts.append(plain[start:])
    for place in range(0, len(parts), 2):
        after = parts[place + 1] if place + 1 < len(parts) else ""
        yield parts[place], after, parts[place + 2].split() if place + 2 < len(parts) else []


def _without_comment(text: str) -> str:
    quoted = ""
    for place, sign in enumerate(text):
        if quoted:
            quoted = "" if sign == quoted else quoted
        elif sign in "'\"":
            quoted = sign
        elif sign == "#" and (place == 0 or text[place - 1].isspace()):
            return text[:place]
    return text


def _words(text: str) -> tuple[tuple[str, ...], str]:
    """The words of a command without what only says how it runs, and the runner whose task it may be."""
    runner = ""
    try:
        words = shlex.split(text)
    except ValueError:  # a quote that goes on in the next line
        words = text.split()
    while words:
        two = " ".join(words[:2])
        if ASSIGNMENT.match(words[0]):
            words = words[1:]
        elif two in WRAPPERS:
            runner = RUNNERS.get(two, runner)
            words = words[2 + WRAPPERS[two] :]
        elif words[0] in WRAPPERS:
            runner = RUNNERS.get(words[0], runner)
            words = words[1 + WRAPPERS[words[0]] :]
        elif words[0].startswith("-") and len(words) > 1:  # an option of a wrapper
            words = words[1:]
        elif PYTHON.match(words[0]):
            words = words[1:]
            while words and words[0] in ("-W", "-X"):
                words = words[2:]
            while words and words[0] in ("-m", "-u", "-I", "-O", "-B", "-W", "-X", "ignore"):
                words = words[1:]
            if words[:1] == ["-c"]:
                return (), ""
            runner = ""
        else:
            break
    return tuple(words), RUNNERS.get(words[0], runner) if words else ""
