"""What shell commands do: which tests, pipelines, deliveries and other steps they really start."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

# Words before a command that only say where or how it runs; with the number of words that they take along.
WRAPPERS = {"poetry run": 0, "uv run": 0, "pipenv run": 0, "pdm run": 0, "rye run": 0, "hatch run": 0, "pixi run": 0}
WRAPPERS |= {"conda run": 0, "micromamba run": 0, "sudo": 0, "time": 0, "exec": 0, "env": 0, "nohup": 0, "xvfb-run": 0}
WRAPPERS |= {"if": 0, "then": 0, "else": 0, "do": 0, "!": 0, "coverage run": 0, "uvx": 0, "pipx run": 0, "{": 0, "(": 0}
WRAPPERS |= {"timeout": 1, "-n": 1, "--name": 1, "-p": 1, "--with": 1, "--group": 1, "--extra": 1, "--python": 1}
PYTHON = re.compile(r"(?:.*/)?python[0-9.]*(?:\.exe)?$")
# What a container is started with, up to a command that is known.
CONTAINER = re.compile(r"^docker(?:-| )(?:compose )?(?:run|exec) .*?(?=\b(?:pytest|tox|nox|dvc repro)\b)")
LONGEST = 10_000  # characters of a command; a longer one is data
SILENT = ("echo", "printf", ":", "true", "false", "cat", "grep", "which", "command", "exit", "fi", "done")
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=\S*$")
TRAINS = re.compile(
    r"(?:^|[/._-])(?:re)?train(?:ing|er)?(?:[/._-]|$)|(?:^|[/._-])(?:ml_?|run_?|train_?)?pipelines?(?:[._-]|$)", re.I
)

# What a command does, by its first words. The order counts: the first that fits.
DEEDS: list[tuple[str, re.Pattern[str]]] = [
    (kind, re.compile(rf"(?:{pattern})(?:\s|$)"))
    for kind, pattern in [
        ("test", r"pytest|py\.test|tox|nox|unittest|ward|nose2?|(?:hatch|poe) tests?|tests?$"),
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

    @property
    def target(self) -> str:
        """The target of make, just or task that it runs; else ""."""
        if self.words[0] not in ("make", "just", "task", "invoke", "inv", "nox", "tox"):
            return ""
        return next((word for word in self.words[1:] if not word.startswith("-") and "=" not in word), "")


def commands(script: str, line: int = 1) -> Iterator[Command]:
    """The simple commands of a shell script that begins at a line of its file; comments and `echo` are none."""
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
        yield from _simple(waiting, start)
        waiting = ""


def _simple(text: str, line: int) -> Iterator[Command]:
    parts = re.split(r"(&&|\|\||;|\|)", _without_comment(text)) if len(text) <= LONGEST else []
    for place in range(0, len(parts), 2):
        words = _words(parts[place])
        after = parts[place + 1] if place + 1 < len(parts) else ""
        following = parts[place + 2].split() if place + 2 < len(parts) else []
        if words and words[0][0] not in "-[}" and words[0] not in SILENT:
            yield Command(words, line, after == "||" and following[:1] in (["true"], [":"], ["echo"]))


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


def _words(text: str) -> tuple[str, ...]:
    try:
        words = shlex.split(text)
    except ValueError:  # a quote that goes on in the next line
        words = text.split()
    while words:
        two = " ".join(words[:2])
        if ASSIGNMENT.match(words[0]):
            words = words[1:]
        elif two in WRAPPERS:
            words = words[2 + WRAPPERS[two] :]
        elif words[0] in WRAPPERS:
            words = words[1 + WRAPPERS[words[0]] :]
        elif words[0].startswith("-") and len(words) > 1:  # an option of a wrapper
            words = words[1:]
        elif PYTHON.match(words[0]):
            words = words[1:]
            while words and words[0] in ("-m", "-u", "-I", "-O", "-B", "-W", "-X", "ignore"):
                words = words[1:]
            if words[:1] == ["-c"]:
                return ()
        else:
            break
    return tuple(words)
