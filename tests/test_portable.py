"""What is known to break on Windows or macOS is not in what a project runs: found by reading, as only Linux is here."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import PROJECT, TEMPLATE, template_files

# Names that Windows lacks, or that do something else there: a signal 0 ends the process.
LACKING = {
    "os": "chown fork forkpty getegid geteuid getgid getloadavg getpgid getuid kill killpg mkfifo nice setsid uname",
    "signal": "SIGALRM SIGHUP SIGKILL SIGQUIT SIGUSR1 SIGUSR2 alarm pause pthread_kill setitimer",
}
MODULES = {"fcntl", "grp", "posix", "pwd", "resource", "syslog", "termios", "tty"}
ASKS = re.compile(
    r"os\.name|sys\.platform|hasattr\((?:os|signal), |getattr\((?:os|signal), |except ModuleNotFoundError"
)
RESERVED = re.compile(r'[<>:"|?*\\]|[ .]$|^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)', re.I)


def blocks() -> Iterator[tuple[str, str, ast.AST]]:
    """The functions and classes of the code with their places and texts, and the lines outside of them."""
    for name in template_files():
        if name.endswith(".py") and not name.startswith(f"{PROJECT}/tests"):
            text = (TEMPLATE / name).read_text(encoding="utf-8")
            lines = text.splitlines()
            for node in ast.parse(text).body:
                yield f"{name}:{node.lineno}", "\n".join(lines[node.lineno - 1 : node.end_lineno]), node


def lacking(node: ast.AST) -> str:
    """What a part of the code uses that not every system has; "" if it is nothing."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.attr if node.attr in LACKING.get(node.value.id, "").split() else ""
    names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
    return next(iter(MODULES.intersection([*names, getattr(node, "module", "")])), "")


def test_what_only_some_systems_have_is_asked_for_first() -> None:
    found = [(place, text, {lacking(part) for part in ast.walk(node)} - {""}) for place, text, node in blocks()]

    assert {"kill", "killpg"} <= {name for _, _, used in found for name in used}  # it finds what there is
    assert not [(place, used) for place, text, used in found if used and not ASKS.search(text)]


def test_text_is_utf_8_whatever_the_system_takes() -> None:
    wrong = []
    for place, _, block in blocks():
        for node in ast.walk(block):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            of_path = node.func.attr in ("read_text", "write_text") and ast.unparse(node.func.value) != "files"
            as_text = node.func.attr in ("run", "Popen", "check_output") and "True" in (
                given.get("text"),
                given.get("universal_newlines"),
            )
            first = node.func.attr == "read_text" and node.args  # of a path, that is the encoding
            if (of_path or as_text) and "encoding" not in given and not first:
                wrong.append((place, node.lineno))

    assert not wrong


def test_every_name_can_be_a_file_on_every_system() -> None:
    names = [name.removeprefix(f"{PROJECT}/") for name in template_files()]

    assert not [name for name in names if any(RESERVED.search(part) for part in Path(name).parts)]
    assert len({name.lower() for name in names}) == len(names)
    assert max(map(len, names)) < 120  # Windows has 260 characters for a whole path


def test_the_workflow_of_all_systems_is_sound() -> None:
    for command in (
        ["zizmor", "--offline", "--persona=auditor", "--quiet", ".github"],
        ["check-jsonschema", "--quiet", "--builtin-schema", "vendor.github-workflows", ".github/workflows/ci.yml"],
    ):
        program = str(Path(sys.executable).with_name(command[0]))
        done = subprocess.run([program, *command[1:]], cwd=TEMPLATE, capture_output=True, encoding="utf-8", check=False)
        assert done.returncode == 0, done.stdout + done.stderr
