"""The command line. Arguments and help stand beside each command's code, which is imported only to run it."""

import ast
import importlib
import inspect
import re
import sys
from pathlib import Path
from typing import Any

try:
    import typer
    from typer.core import TyperCommand, TyperGroup
except ImportError as missing:  # this is not the environment of the project
    from mlops.base import environment

    environment.require()
    sys.exit(f"Error: {environment.unusable(missing)}")

from mlops.base import console

# The name of each command, and the module below mlops.commands that has a function of that name (or the one given).
COMMANDS: dict[str, Any] = {
    "status": "status",
    "doctor": "doctor",
    "ingest": "data.ingest",
    "data": {"log": "data.versions", "get": "data.versions", "hold-back": "data.hold_back"},
    "schema": {"infer": "data.draft_schema"},
    "features": {"load": "features.load", "page": "features.page"},
    "lock": "lock",
    "packages": "packages",
    "upgrade": "upgrade",
    "sweep": "experiments.sweep",
    "compare": "experiments.compare",
    "review": "experiments.review",
    "resolve": "experiments.resolve",
    "sync": "production.sync",
    "package": "production.package",
    "deliver": "production.deliver",
    "schedule": "production.schedule",
    "registry": {"show": "production.show", "history": "production.show"},
    "approve": "production.promotion",
    "promote": "production.promotion",
    "rollback": "production.promotion",
    "audit": {"verify": "production.audit_log", "restore": "production.audit_log"},
    "trace": "production.trace",
    "reproduce": "production.reproduce",
    "trust": "production.trust",
    "explain": "production.explain",
    "serve": "production.serve",
    "serving": {"route": "production.serving", "status": "production.serving"},
    "predict": "production.predict",
    "feedback": "production.feedback",
    "batch": "production.batch",
    "check-drift": "monitoring.check_drift",
    "monitor": {"history": "monitoring.history", "performance": "monitoring.performance"},
    "alert": "monitoring.alert",
    "retrain": "production.retrain",
    "simulate": "monitoring.simulate",
    "assess": "assess",
}
GROUPS = {
    "data": "List the versions of the data, and get one of them.",
    "schema": "Draft schema.yaml from the data.",
    "features": "Bring events to the server, and list all features.",
    "registry": "List the versions of the model, and who promoted which.",
    "audit": "Check the log of promotions, and bring it back from Git.",
    "serving": "Change which versions answer on a running server.",
    "monitor": "Look at all deliveries so far, and at how the model does.",
}


class LazyGroup(TyperGroup):
    """Commands whose modules are imported when they are called: for a list of them their source is only parsed."""

    table = COMMANDS

    def list_commands(self, ctx: Any) -> list[str]:
        """The names in the order of the table."""
        return list(self.table)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A group of commands, or a command that has its first line of help only; None if there is none."""
        found = self.table.get(cmd_name)
        if isinstance(found, dict):
            group = LazyGroup(name=cmd_name, help=GROUPS[cmd_name], no_args_is_help=True)
            group.table = found
            return group
        return found and TyperCommand(cmd_name, help=_first_line(f"mlops.commands.{found}", cmd_name))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is called, imported."""
        name, command, rest = super().resolve_command(ctx, args)
        if name and isinstance(command, TyperCommand):
            module = importlib.import_module(f"mlops.commands.{self.table[name]}")
            command = _command(getattr(module, name.replace("-", "_")), name)
        return name, command, rest


def _command(function: Any, name: str) -> Any:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    # What may be raised is for who reads the code; a paragraph is one line, which the terminal breaks.
    text = inspect.cleandoc(function.__doc__).partition("\n\nRaises:")[0]
    app.command(name, help=re.sub(r"(?<!\n)\n(?!\n)", " ", text))(function)
    return typer.main.get_command(app)


def _first_line(module: str, name: str) -> str:
    source = Path(__file__).parents[1].joinpath(*module.split(".")).with_suffix(".py")
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == name.replace("-", "_"):
            return (ast.get_docstring(node) or "").partition("\n")[0]
    raise LookupError(f"{module} has no function for the command {name}")


app = typer.Typer(cls=LazyGroup, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """Work with data, experiments and versions of the model; `dvc repro` runs the pipeline."""


if __name__ == "__main__":
    console.run(app)
