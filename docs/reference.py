"""Write the reference of a generated project as Markdown: parameters, schema, behaviour, commands, files, variables.

Everything comes from the code: the models behind `params.yaml`, `schema.yaml` and `behaviour.yaml`, the functions
behind `python -m mlops`, the stages' arguments, and `dvc.yaml`. Only what a variable of the environment means is said
here, since many have no place of their own; that none is missing, and none too much, is found in the code. `python
docs/reference.py` writes `docs/reference/`; a test compares the pages with what this file makes.
"""

import ast
import importlib
import inspect
import re
import shlex
import sys
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from ruamel.yaml import YAML
from typer.models import ArgumentInfo, OptionInfo

TEMPLATE = Path(__file__).resolve().parents[1]
PROJECT = TEMPLATE / "{{cookiecutter.project}}"
PAGES = TEMPLATE / "docs" / "reference"
sys.path.insert(0, str(PROJECT))

from mlops import __main__ as command_line  # noqa: E402
from mlops.base import console, params  # noqa: E402
from mlops.data import schema  # noqa: E402
from mlops.evaluation import declaration  # noqa: E402
from mlops.history import paths  # noqa: E402

Facts = Mapping[str, Any]
WRITTEN = "<!-- Written by docs/reference.py: edit the code that it reads, and run `make docs`. -->\n"
# An exit code of its own, in the source of a command, and a sentence about it in its help.
VERDICT = re.compile(r"sys\.exit\((?!INTERRUPTED)")
EXIT = re.compile(r"[^.]*\bexits? (?:codes? |with )[^.]*\.")
RANGES = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
PLAIN = {"string": "text", "number": "number", "integer": "whole number", "boolean": "true or false"}
LOOK = "see on the right"
# What no stage writes.
OTHERS = {
    paths.AUDIT: ("`approve`, `promote`, `rollback`, `deliver`", "Copy of the registry's audit log (JSON lines).")
}


def table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [heads, ("---",) * len(heads), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def paragraphs(text: str | None) -> str:
    """A docstring without its indentation and its list of errors."""
    return inspect.cleandoc(text or "").partition("\n\nRaises:")[0]


# ---- params.yaml and schema.yaml


def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """The words below each field of a model, and of those that it extends."""
    found = descriptions(model.__base__) if model.__base__ and issubclass(model.__base__, BaseModel) else {}
    if model is BaseModel:
        return found
    body = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0].body  # type: ignore[attr-defined]
    for field, words in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(words, ast.Expr) and isinstance(words.value, ast.Constant):
            found[ast.unparse(field.target)] = " ".join(str(words.value.value).split())
    return found


def value_of(shape: Facts) -> str:
    """What a field may hold, in words, from its JSON schema."""
    if "$ref" in shape:
        name = shape["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in shape:
        several = [one for one in shape["anyOf"] if one.get("type") != "null"]
        words = list(dict.fromkeys(value_of(one) for one in several))
        return " or ".join(words) + (", or empty" if len(several) < len(shape["anyOf"]) else "")
    if "enum" in shape or "const" in shape:
        return ", ".join(f"`{value}`" for value in shape.get("enum", [shape.get("const")]))
    if "type" not in shape:
        return LOOK
    if shape["type"] == "array":
        return f"list of: {value_of(shape['items'])}"
    if shape["type"] == "object":
        return f"name: {value_of(shape['additionalProperties'])}" if shape["additionalProperties"] is not True else LOOK
    if {"minimum", "maximum"} <= shape.keys():
        return f"{PLAIN[shape['type']]} from {shape['minimum']:g} to {shape['maximum']:g}"
    limits = ", ".join(f"{sign} {shape[key]:g}" for key, sign in RANGES.items() if key in shape)
    return f"{PLAIN[shape['type']]} {limits}".strip()


def default_of(field: Facts, name: str, required: list[str]) -> str:
    """The default of a field: a value, or where to look for many."""
    if name in required:
        return "must be given"
    value = field.get("default")
    if value in (None, "", [], {}):
        return "empty"
    if isinstance(value, dict) or (isinstance(value, list) and len(value) > 5):
        return "below"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`".replace("'", "")


def fields(model: type[BaseModel], shape: Facts, *, but: str = "") -> str:
    """The table of the fields of one model."""
    words = descriptions(model)
    if missing := [name for name in shape["properties"] if name not in words and name != but]:
        raise LookupError(f"{model.__name__} says nothing about {', '.join(missing)}: write a line below the field")
    rows = [
        (f"`{name}`", value_of(field), default_of(field, name, shape.get("required", [])), words[name])
        for name, field in shape["properties"].items()
        if name != but
    ]
    return table(("name", "value", "default", "what it does"), rows)


def parameters() -> str:
    """The page of params.yaml: a section each, then the shapes that several of them are made of."""
    parts: list[str] = []
    shapes: dict[str, Any] = {}
    for name, model in params.SECTIONS.items():
        shape = model.model_json_schema()
        shapes |= shape.get("$defs", {})
        heading = f"## {name}\n\n{paragraphs(model.__doc__)}\n"
        if "properties" in shape:
            parts.append(f"{heading}\n{fields(model, shape)}")
        else:
            parts.append(f"{heading}\nEach entry is a name with {value_of(shape['additionalProperties'])}.\n")
    for name, shape in sorted(shapes.items()):
        model = getattr(params, name)
        parts.append(f"## {name}\n\n{paragraphs(model.__doc__)}\n\n{fields(model, shape)}")
    gate = [
        (f"`{name}`", f"`{rule.measure}`", f"`{rule.metric}`", f"`{rule.direction}`", f"`{rule.limit:g}`")
        for name, rule in params.Register().gate.items()
    ]
    parts.append(
        "## Rules of the gate by default\n\n" + table(("name", "measure", "metric", "direction", "limit"), gate)
    )
    intro = (
        "A parameter that is not in `params.yaml` has the default below. A generated project lists all sections, with "
        "some values that fit its data. An unknown name, or a value out of range, is an error that names it. Try one "
        "without editing by `dvc exp run -S train.model=logistic_regression`."
    )
    return "\n".join([f"# Parameters: params.yaml\n\n{intro}\n", *parts])


def columns() -> str:
    """The page of schema.yaml."""
    shape = schema.Schema.model_json_schema()
    top = fields(schema.Schema, shape, but="history").replace("| below |", "| see below |")
    words = ", ".join(f"`{text}`" if text else "an empty cell" for text in schema.MISSING)
    column = fields(schema.Column, shape["$defs"]["Column"])
    return (
        "# Schema: schema.yaml\n\n"
        "What a valid row is. `python -m mlops schema infer` drafts the file from data.\n\n"
        f"{top}\nMissing by default: {words}.\n\n"
        f"## Column\n\n{paragraphs(schema.Column.__doc__)}\n\n{column}"
    )


def behaviour() -> str:
    """The page of behaviour.yaml: a kind of test each."""
    parts = [
        f"## {name}\n\n{paragraphs(model.__doc__)}\n\n{fields(model, model.model_json_schema(), but='kind')}"
        for name, model in declaration.KINDS.items()
    ]
    intro = (
        "What a model must and must not do: below `tests:`, a name, the `kind` of the test, and what it needs. "
        "`evaluate` tries all of them, and the gate's rule `behaviour` lets no model pass that fails one."
    )
    return "\n".join([f"# Behaviour: behaviour.yaml\n\n{intro}\n", *parts])


# ---- Commands


def all_commands(known: Facts = command_line.COMMANDS, before: str = "") -> Iterator[tuple[str, Any]]:
    """The name and the function of each command."""
    for name, place in known.items():
        if isinstance(place, dict):
            yield from all_commands(place, f"{before}{name} ")
        else:
            module = importlib.import_module(f"mlops.commands.{place}")
            yield f"{before}{name}", getattr(module, name.replace("-", "_"))


def arguments(function: Any) -> Iterator[tuple[inspect.Parameter, Any, ArgumentInfo | OptionInfo]]:
    """Each parameter of a command's function, its type, and what Typer knows of it."""
    hints = get_type_hints(function, include_extras=True)
    for parameter in inspect.signature(function).parameters.values():
        kind, *more = get_args(hints[parameter.name])
        yield parameter, kind, next(one for one in more if isinstance(one, ArgumentInfo | OptionInfo))


def spelling(parameter: inspect.Parameter, info: OptionInfo) -> str:
    """The names of an option, such as `-S`, `--set-param`."""
    names = [*(info.param_decls or ()), *([info.default] if isinstance(info.default, str) else [])]
    names = names or [f"--{parameter.name.replace('_', '-')}"]
    return ", ".join(f"`{name}`" for name in names)


def kind_of(kind: Any) -> str:
    """The type of an argument, in words."""
    inner = [one for one in get_args(kind) if one is not types.NoneType]
    if get_origin(kind) in (Union, types.UnionType):
        return kind_of(inner[0])
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if get_origin(kind) is list:
        return f"{kind_of(inner[0])}, several"
    return {bool: "switch", int: "whole number", float: "number", Path: "path", str: "text"}[kind]


def command(name: str, function: Any) -> str:
    """The part about one command: usage, help, arguments and exit codes."""
    usage, rows, texts = [], [], [paragraphs(function.__doc__).replace("\n", " ")]
    for parameter, kind, info in arguments(function):
        needed = parameter.default is inspect.Parameter.empty
        said = info.help or ""
        texts.append(said)
        default = "must be given" if needed else ""
        if not needed and parameter.default not in (None, "", False):
            default = f"`{parameter.default}`"
        if info.envvar:
            said += f" In the environment: `{info.envvar}`."
        if isinstance(info, ArgumentInfo):
            shown = info.metavar or parameter.name.upper() + ("…" if get_origin(kind) is list else "")
            usage.append(shown if needed else f"[{shown}]")
            rows.append((f"`{shown}`", kind_of(kind), default, said))
        else:
            limits = "".join(
                f" {sign} {edge:g}" for sign, edge in (("≥", info.min), ("≤", info.max)) if edge is not None
            )
            rows.append((spelling(parameter, info), f"{kind_of(kind)}{limits}", default, said))
    verdicts = [found.group().strip() for text in texts for found in EXIT.finditer(f"{text.rstrip('.')}.")]
    if VERDICT.search(inspect.getsource(function)) and not verdicts:
        raise LookupError(f"the help of {name} does not say which exit code it has, and when")
    errors = re.split(r"\s*\b\w+Error: ", inspect.cleandoc(function.__doc__).partition("\n\nRaises:")[2])[1:]
    codes = [f"- Exit code 1: {' '.join(text.split()).rstrip('.')}." for text in errors]
    codes += [f"- {text}" for text in dict.fromkeys(verdicts)]
    line = " ".join(["python -m mlops", name, *usage, *(["[OPTIONS]"] if len(rows) > len(usage) else [])])
    return "\n".join(
        [
            f"## {name}\n\n```\n{line}\n```\n\n{paragraphs(function.__doc__)}\n",
            *([table(("argument", "value", "default", "what it does"), rows)] if rows else []),
            *(["\n".join(codes) + "\n"] if codes else []),
        ]
    )


def commands() -> str:
    """The page of all commands."""
    general = [
        ("0", "The command has done what it says, and found nothing bad."),
        ("1", "An error: one sentence on standard error says what was found, what was expected, and what to do."),
        ("2", "Wrong usage: an unknown command or option, or a value of the wrong type."),
        (f"{console.VERDICT} and more", "A verdict: the command worked, and found what it says below."),
        (
            "130, 143",
            "Interrupted by Ctrl-C or SIGTERM; what had begun is taken back, or completed by the same command.",
        ),
    ]
    return "\n".join(
        [
            "# Commands: python -m mlops\n\n`dvc repro` runs the pipeline; everything else is a command below.\n",
            f"## Exit codes\n\n{table(('code', 'meaning'), general)}",
            *(command(*one) for one in all_commands()),
        ]
    )


# ---- Files


def files() -> str:
    """The page of the files that a project reads and writes."""
    pipeline = YAML(typ="safe").load(PROJECT / "dvc.yaml")
    stages: dict[str, Facts] = pipeline["stages"]
    words: dict[str, str] = {}
    kept: dict[str, tuple[str, str]] = {}
    for stage, facts in stages.items():
        for out in [*facts["outs"], *facts.get("metrics", [])]:
            name, options = next(iter(out.items())) if isinstance(out, dict) else (out, {})
            kept[name] = (stage, "DVC" if options.get("cache", True) else "Git")
        words |= {name: text for name, text in described(facts["cmd"]).items() if name not in words}
    for stage, facts in stages.items():  # who writes a file knows best what it is
        words |= {name: text for name, text in described(facts["cmd"]).items() if kept.get(name, [""])[0] == stage}
    readers = {name: [f"`{stage}`" for stage, facts in stages.items() if name in facts["deps"]] for name in words}
    given = [
        (f"`{name}`", ", ".join(readers[name]), text)
        for name, text in words.items()
        if name not in kept and readers[name]
    ]
    written = [
        (f"`{name}`", f"`{stage}`", ", ".join(readers[name]), keeper, words[name])
        for name, (stage, keeper) in kept.items()
    ]
    plots = [
        (f"`{name}`", facts["title"], f"`{facts['x']}`, `{facts['y']}`")
        for plot in pipeline["plots"]
        for name, facts in plot.items()
    ]
    others = [(f"`{path.as_posix()}`", *facts) for path, facts in OTHERS.items()] + [
        (f"`{parameter.default.as_posix()}`", f"`{name}`", function.__doc__.partition("\n")[0])
        for name, function in all_commands()
        for parameter, _, _ in arguments(function)
        if isinstance(parameter.default, Path) and parameter.name in ("html", "to", "output")
    ]
    heads = ("file", "written by", "read by", "kept by", "what it holds")
    page = "\n".join(
        [
            "# Files\n\nThe names stand in `dvc.yaml` and nowhere else; stages get them as arguments.\n",
            f"## What you give\n\n{table(('file', 'read by', 'what it is'), given)}",
            f"## What the pipeline writes\n\n{table(heads, written)}",
            f"## Tables for plots\n\n`dvc plots show` draws them.\n\n{table(('file', 'plot', 'columns'), plots)}",
            f"## What commands write\n\n{table(('file', 'written by', 'what it is'), others)}",
        ]
    )
    known = [value for value in vars(paths).values() if isinstance(value, Path) and len(value.parts) > 1]
    if missing := [path.as_posix() for path in known if f"`{path.as_posix()}`" not in page]:
        raise LookupError(f"no stage says what {', '.join(missing)} is: name it in OTHERS")
    return page


def described(line: str) -> dict[str, str]:
    """What each file is that a stage's command names, in the words of the stage."""
    _, _, module, *given = shlex.split(line)
    first = next(number for number, word in enumerate(given) if word.startswith("--"))
    options = dict(zip(given[first::2], given[first + 1 :: 2], strict=True))
    positional, found = iter(given[:first]), {}
    for parameter, kind, info in arguments(importlib.import_module(module).main):
        if isinstance(info, OptionInfo):
            if name := options.get(f"--{parameter.name.replace('_', '-')}"):
                found[name] = info.help or ""
        elif get_origin(kind) is not list:
            found[next(positional)] = info.help or ""
    return found


# ---- Environment

# A name of several words, as a constant in Python; one that ends with _ begins the names that an f-string makes.
CONSTANT = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|[A-Z]{2,}(?:_[A-Z0-9]+)*_")
ASKED = re.compile(r"(?:os\.)?environ(?:\.get|\.setdefault)?")
IN_SHELL = re.compile(r"(?:\$\{?|\b(?:secrets|vars)\.|\bENV )([A-Z][A-Z0-9_]+)")
# What is defined by GitHub and GitLab, for their own jobs, and what a file gives to its own scripts.
OF_A_JOB = re.compile(
    r"(?:CI|GITHUB|RUNNER)_\w+|STARTED|BASE|PYTHON(?:UNBUFFERED|DONTWRITEBYTECODE)|HOME|RETRAIN_OPTIONS"
)
SHELL = (".github/workflows/*.yml", ".gitlab-ci.yml", "compose.yaml", "Dockerfile", "deploy/*.service")
# Constants that look like variables.
NOT_READ = {
    "files of Git": "BISECT_LOG CHERRY_PICK_HEAD MERGE_HEAD REBASE_HEAD REVERT_HEAD",
    "codes": "INVALID_PARAMETER_VALUE RESOURCE_ALREADY_EXISTS RESOURCE_DOES_NOT_EXIST TEMPORARILY_UNAVAILABLE",
    "a name of Python": "TYPE_CHECKING",
    "beginnings of names": "DVC_EXP GIT_ GIT_CEILING GIT_CONFIG GIT_CONFIG_KEY",
    "taken away or given to what is started": (
        "DVC_NO_ANALYTICS GH_NO_UPDATE_NOTIFIER GH_PROMPT_DISABLED GIT_ALLOW_PROTOCOL GIT_DIR GIT_INDEX_FILE "
        "GIT_NO_LAZY_FETCH GIT_NO_REPLACE_OBJECTS GIT_OPTIONAL_LOCKS GIT_PREFIX GIT_TERMINAL_PROMPT GIT_WORK_TREE "
        "GLAB_CHECK_UPDATE LC_ALL NO_COLOR UV_DEFAULT_INDEX VIRTUAL_ENV"
    ),
}
VARIABLES: dict[str, dict[str, str]] = {
    "The registry": {
        "MLFLOW_TRACKING_URI": "Where MLflow keeps runs and versions. It wins over `tracking.uri`.",
        "MLFLOW_TRACKING_USERNAME": "The account at MLflow's server; the audit log names it.",
        "MLFLOW_TRACKING_PASSWORD": "Its password.",
        "MLFLOW_TRACKING_TOKEN": "A token instead of account and password, for a proxy in front of the server.",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "How often MLflow tries again. Here it is 2 if nobody says otherwise.",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "Seconds that MLflow waits for an answer. Here they are 20.",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "Whether MLflow draws bars. Here it does not.",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "Whether MLflow keeps its links to itself. Here it does.",
    },
    "Data and their storage": {
        "AWS_ACCESS_KEY_ID": "The key of S3, for deliveries and the DVC remote.",
        "AWS_SECRET_ACCESS_KEY": "Its secret; hidden in what `ingest` says.",
        "AWS_SESSION_TOKEN": "The token of a temporary key; hidden, too.",
        "AWS_PROFILE": "An entry of `~/.aws/credentials` instead.",
        "AWS_ENDPOINT_URL": "An S3 that is not Amazon's. For DVC, `endpointurl` of the remote wins.",
        "AWS_MAX_ATTEMPTS": "How often S3 is tried. `doctor` tries once if nobody says otherwise.",
        "GOOGLE_APPLICATION_CREDENTIALS": "The key file of a service account, for a DVC remote on Google's storage.",
        "AZURE_STORAGE_CONNECTION_STRING": "Account and key, for a DVC remote on Azure.",
        "AZURE_STORAGE_KEY": "The key alone; the account stands in the remote.",
        "AZURE_STORAGE_SAS_TOKEN": "A token with fewer rights instead.",
        "PGPASSWORD": "The password of a PostgreSQL that `ingest` asks; hidden in what it says.",
        "MLOPS_EVENTS": "The online store of events: a file, or the address of a Redis with a prefix.",
    },
    "The model server and who asks it": {
        "MLOPS_API_KEYS": "`name:key` pairs with commas between them, keys of 16 characters at least: who may ask.",
        "MLOPS_ADMIN_KEYS": "The same for those who may change which version answers.",
        "MLOPS_SERVER_URL": "The server's address, for `serving`, `deliver`, `status` and `retrain`.",
        "MLOPS_API_KEY": "One of the server's keys, for `predict --url` and `feedback`.",
        "MLOPS_ADMIN_KEY": "One of the server's admin keys, for `serving`, `deliver`, `status` and `retrain`.",
        "MLOPS_SERVER": "How `serve` tells its workers their options. Not for people.",
        "PROMETHEUS_MULTIPROC_DIR": "Where the workers of `serve` count. It sets it. Not for people.",
        "PYTHONPATH": "Where else modules are found; kept for the process that answers for a challenger.",
    },
    "Alarms": {
        "MLOPS_ALERT_WEBHOOK": "The address of a webhook.",
        "MLOPS_ALERT_SLACK": "The address of a Slack channel's incoming webhook.",
        "MLOPS_SMTP_URL": "The mail server, such as `smtps://name:password@host`.",
        "GITHUB_TOKEN": "A token that may write issues; in GitHub Actions, that of the job.",
        "GITHUB_REPOSITORY": "`owner/name` of the project. GitHub Actions sets it.",
        "GITHUB_API_URL": "Where the API of GitHub is. GitHub Actions sets it.",
        "GITLAB_TOKEN": "A token that may write issues.",
        "CI_PROJECT_ID": "The number of the project. GitLab CI sets it.",
        "CI_API_V4_URL": "Where the API of GitLab is. GitLab CI sets it.",
    },
    "Git and its hosts": {
        "GH_TOKEN": "A token by which `gh` opens pull requests for `retrain`.",
        "GH_HOST": "A GitHub of one's own, for `gh`. `assess` asks no host that is not named here.",
        "GITHUB_SERVER_URL": "The GitHub that a job runs at. GitHub Actions sets it.",
        "GITLAB_HOST": "The same of a GitLab, for `glab`.",
        "CI_SERVER_HOST": "The GitLab that a job runs at. GitLab CI sets it.",
        "GIT_AUTHOR_NAME": "Who makes commits, runs and versions, if it is not Git's `user.name`.",
        "GIT_AUTHOR_EMAIL": "The same for the address.",
        "GIT_ASKPASS": "A program that gives Git a password. Without one, `retrain` lets Git ask nobody.",
    },
    "Workflows and services": {
        "DVC_CONFIG_LOCAL": "The text of a `.dvc/config.local` (in GitLab, a file) with credentials for the remote.",
        "RETRAIN": "`on` switches the schedule of `retrain` on (GitHub).",
        "FORCE": "Anything lets a run of the schedule retrain whatever the rules say (in GitHub, a switch of the run).",
        "RETRAIN_TOKEN": "A token that may push branches and open requests, instead of that of the job.",
        "REVIEW_TOKEN": "A token that may comment on merge requests (GitLab).",
        "DELIVER": "`on` switches the delivery of main on; `manual` makes it a button (GitLab).",
        "MODEL_IMAGE": "The image that a delivery builds and pushes, without a tag.",
        "IMAGE_REGISTRY_USERNAME": "The account at the image's registry.",
        "IMAGE_REGISTRY_PASSWORD": "Its password.",
        "POSTGRES_PASSWORD": "The password of the database in `compose.yaml`.",
        "MLFLOW_AUTH_ADMIN_PASSWORD": "The password of MLflow's administrator, at the first start.",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "Any long word; MLflow's server signs its forms with it.",
        "GRAFANA_PASSWORD": "The password of Grafana's administrator, at the first start.",
    },
    "This machine and its tools": {
        "CI": "Set by CI: runs are noted as made there, and a bare commit that is checked out is no remark.",
        "DASK_SCHEDULER_ADDRESS": "The Dask cluster that does parallel work. It wins over `compute.scheduler`.",
        "PIP_INDEX_URL": "The package index that `lock` asks, as pip does.",
        "XDG_STATE_HOME": "Where the list of trusted models is, instead of `~/.local/state`.",
        "PATH": "Where programs are found, the `python` of the stages among them.",
        "COLUMNS": "How wide `status` may print to a pipe.",
        "PWD": "What the answer `data` is relative to when a project is generated.",
        "MLOPS_COMPARE": "`upgrade` sets it: a project is generated only to be compared. Not for people.",
        "DVC_ROOT": "The project. DVC sets it for its stages, and so the next three.",
        "DVC_STAGE": "The stage that runs.",
        "DVC_EXP_NAME": "The experiment that runs.",
        "DVC_EXP_BASELINE_REV": "The commit that it started from.",
    },
}


def variables_read() -> dict[str, set[str]]:
    """Each variable that code of the template names, with the places: an area of `mlops/`, or a file."""
    found: dict[str, set[str]] = {}
    for path in (*PROJECT.glob("mlops/**/*.py"), *PROJECT.glob("*/*.py"), *TEMPLATE.glob("hooks/*.py")):
        place = path.relative_to(TEMPLATE if path.is_relative_to(TEMPLATE / "hooks") else PROJECT)
        for name in constants(ast.parse(path.read_text(encoding="utf-8"))):
            found.setdefault(name, set()).add("/".join(place.parts[:2]))
    for path in (path for pattern in SHELL for path in PROJECT.glob(pattern)):
        for name in IN_SHELL.findall(path.read_text(encoding="utf-8")):
            if not OF_A_JOB.fullmatch(name):
                found.setdefault(name, set()).add(path.relative_to(PROJECT).as_posix())
    return found


def constants(tree: ast.AST) -> Iterator[str]:
    """The constants of a module that look like a variable, are known for one, or that `os.environ` is asked for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if CONSTANT.fullmatch(node.value) or any(node.value in group for group in VARIABLES.values()):
                yield node.value
        elif isinstance(node, ast.Call | ast.Subscript):
            asked, keys = (node.func, node.args) if isinstance(node, ast.Call) else (node.value, [node.slice])
            if ASKED.fullmatch(ast.unparse(asked)) and isinstance(keys[0], ast.Constant):
                yield str(keys[0].value)


def environment() -> str:
    """The page of the variables of the environment."""
    found = variables_read()
    named = [name for group in VARIABLES.values() for name in group]
    known = {*named, *" ".join(NOT_READ.values()).split()}
    for begin in [name for name in found if name.endswith("_") and name not in known]:
        for name in [name for name in named if name.startswith(begin)]:
            found[name] = found.get(name, set()) | found[begin]
            known.add(begin)
    if missing := sorted(found.keys() - known):
        raise LookupError(
            f"the code names {', '.join(missing)}: say in VARIABLES what it means, or why not in NOT_READ"
        )
    if gone := sorted(known - found.keys()):
        raise LookupError(f"no code names {', '.join(gone)}: take it out of VARIABLES or NOT_READ")
    intro = (
        "What the project's own code and workflows read. DVC, MLflow, pip and the clients of storage read more. "
        "Secrets belong here or into `.dvc/config.local`, never into a tracked file."
    )
    parts = []
    for title, group in VARIABLES.items():
        rows = [
            (f"`{name}`", words, ", ".join(f"`{place}`" for place in sorted(found[name])))
            for name, words in group.items()
        ]
        parts.append(f"## {title}\n\n{table(('variable', 'what it means', 'where it is read'), rows)}")
    return "\n".join([f"# Environment variables\n\n{intro}\n", *parts])


REFERENCE: dict[str, Callable[[], str]] = {
    "parameters.md": parameters,
    "schema.md": columns,
    "behaviour.md": behaviour,
    "commands.md": commands,
    "files.md": files,
    "environment.md": environment,
}


def pages() -> dict[str, str]:
    """The text of each page by its name."""
    return {name: f"{WRITTEN}\n{page().strip()}\n" for name, page in REFERENCE.items()}


if __name__ == "__main__":
    PAGES.mkdir(exist_ok=True)
    for name, text in pages().items():
        (PAGES / name).write_text(text, encoding="utf-8")
