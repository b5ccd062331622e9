"""Generating files, beside cookiecutter-data-science."""

import os
import shutil
import sys
from argparse import Namespace

from benchmarks.measure import FOLDER, GENERATE, NotToBeHadError, Row, Side, environment, exported, rows, turns

TITLE = "Generating a project"
PACKAGES = ("cookiecutter",)
PEER = "cookiecutter-data-science"
ABOUT = """
Files only, without an environment and without a run (`setup=no`). cookiecutter-data-science's package on PyPI, source
archive included, is a loader of a template on GitHub; a machine that reaches no GitHub measures it with a checkout of
it in the variable `DATA_SCIENCE_TEMPLATE`.

**What it does that we do not:** it leaves all freedom but for where things go; it asks for one of several environment
managers, linters, test runners and places for data, where we have decided.
"""


def measure(options: Namespace) -> list[Row]:
    """Files only, of both."""
    template, out = exported(), FOLDER / "generated"

    def side(python: str, module: str, *arguments: str) -> Side:
        command = [python, "-m", module, "--no-input", "--output-dir", str(out), *arguments]
        return Side(command, FOLDER, lambda: shutil.rmtree(out, ignore_errors=True))

    what, sides = "a project without setup", {"ours": side(sys.executable, GENERATE[2], str(template), "setup=no")}
    try:
        python, checkout = environment(PEER, PEER), os.environ.get("DATA_SCIENCE_TEMPLATE")
        if not checkout:
            raise NotToBeHadError("its package on PyPI has no template, which is on GitHub")
    except NotToBeHadError as error:
        ours = turns(sides, options.repeat)["ours"]
        return [Row(what, "s", ours.seconds, PEER, None, most=0.8, note=str(error))]
    return rows(what, turns({**sides, PEER: side(python, "ccds", checkout)}, options.repeat), most=0.8)
