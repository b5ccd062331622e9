"""A `python` that has imported what every command imports: it forks, so that a command starts in a moment.

A command is a process of its own all the same, with its own environment, folder and code: what is imported before are
the packages of others. Where the environment says how Python itself starts (its hash seed, threads, the locale), and
for all but the modules of a project and DVC, the real Python is started.
"""

import atexit
import gc
import importlib
import marshal
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path

MODULES = (
    *("dvc.cli", "dvc.repo", "dvc.commands.repro", "dvc.commands.data_sync", "dvc.repo.experiments.run"),
    *("mlflow", "mlflow.sklearn", "mlflow.store.tracking.sqlalchemy_store", "matplotlib.figure", "pyarrow.parquet"),
    *("matplotlib.backends.backend_svg", "sklearn.compose", "sklearn.ensemble", "sklearn.inspection", "scipy.stats"),
    *("sklearn.linear_model", "sklearn.model_selection", "typer", "jinja2", "markdown_it", "ruamel.yaml", "pandas"),
)
# Read while Python or a library starts, so that a fork cannot follow them.
STARTS = ("PYTHON", "OMP_", "OPENBLAS_", "MKL_", "NUMEXPR_", "LC_", "LANG", "TZ", "LD_")
SERVERS: "list[subprocess.Popen[bytes]]" = []  # of this process; kept, or the pipe that ends them would be closed
CLIENT = """#!{python} -IS
import marshal, os, sys
arguments = sys.argv[1:]
module = arguments[1] if len(arguments) > 1 and arguments[0] == "-m" else ""
starts = {{name: value for name, value in os.environ.items() if name.startswith({starts!r})}}
if (module in ("dvc", "mlops") or module.startswith("stages.")) and starts == {known!r}:
    import socket
    with socket.socket(socket.AF_UNIX) as server:
        try:
            server.connect({address!r})
        except OSError:  # the tests are over
            os.execv({python!r}, [{python!r}, *arguments])
        mask = os.umask(0)
        asked = marshal.dumps((arguments, dict(os.environ), os.getcwd(), mask))
        socket.send_fds(server, [len(asked).to_bytes(4, "big")], [0, 1, 2])
        server.sendall(asked)
        sys.exit(int.from_bytes(server.recv(1), "big"))
os.execv({python!r}, [{python!r}, *arguments])
"""


def start(env: Mapping[str, str]) -> Path:
    """Start its server in an environment; the program. It ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    address = str(folder / "socket")
    command = [sys.executable, "-P", __file__, address]
    server = subprocess.Popen(command, env={**env, "HOME": str(folder)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    SERVERS.append(server)
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    known = {name: value for name, value in env.items() if name.startswith(STARTS)}
    program = folder / "python"
    program.write_text(CLIENT.format(python=sys.executable, starts=STARTS, known=known, address=address))
    program.chmod(0o755)
    return program


def serve(address: str) -> None:
    """Answer until the process that started this one has ended, which closes the standard input."""
    for name in MODULES:
        importlib.import_module(name)
    assert threading.active_count() == 1, threading.enumerate()
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        print("ready", flush=True)
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            if not os.fork():
                listener.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _answer(connection, Path(address).with_name("python"))
            connection.close()
    shutil.rmtree(Path(address).parent)


def _answer(connection: socket.socket, program: Path) -> None:
    """Run a command in another fork, and tell the exit code."""
    length, descriptors, _, _ = socket.recv_fds(connection, 4, 3)
    asked = connection.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL)
    process = os.fork()
    if not process:
        connection.close()
        for standard, descriptor in enumerate(descriptors):
            os.dup2(descriptor, standard)
            os.close(descriptor)
        _run(*marshal.loads(asked), program)  # noqa: S302 – of the tests
    for descriptor in descriptors:
        os.close(descriptor)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    connection.sendall((code if code >= 0 else 128 - code).to_bytes(1, "big"))
    os._exit(0)


def _run(arguments: list[str], env: dict[str, str], folder: str, mask: int, program: Path) -> None:
    """Do what `python -m` does, and end."""
    code: object = 1
    try:
        os.chdir(folder)
        os.umask(mask)
        os.environ.clear()
        os.environ.update(env)
        sys.argv, sys.path[:0], sys.executable = arguments[1:], [str(Path.cwd())], str(program)
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    if not isinstance(code, int | None):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit((code or 0) & 255)


if __name__ == "__main__":
    serve(sys.argv[1])
