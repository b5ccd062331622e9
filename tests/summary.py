"""What `make demo` ends with: metrics, the gate, drift, where it all is and what to do next.

python -m tests.summary demo/customer-churn
"""

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table


def main(project: Path) -> None:
    """Print the results of a generated project's first run."""

    def report(name: str) -> dict[str, object]:
        found: dict[str, object] = json.loads((project / "reports" / name).read_text(encoding="utf-8"))
        return found

    metrics, evaluation, registration, drift = map(
        report, ("metrics.json", "evaluation.json", "registration.json", "drift.json")
    )
    table = Table("metric", "test", "95 % interval", "cross-validated")
    folds = report("cross_validated.json")
    for name, value in metrics.items():
        low, high = evaluation["intervals"][name]  # type: ignore[index]
        table.add_row(name, f"{value:.4f}", f"{low:.4f} – {high:.4f}", f"{folds[name]:.4f}")
    console = Console()
    console.print(table)
    verdict = "passed" if registration["passed"] else "FAILED"
    rules = ", ".join(rule["rule"] for rule in registration["rules"])  # type: ignore[attr-defined]
    console.print(f"Gate: {verdict} ({rules})\nDrift: {drift['verdict']}\n")
    console.print(f"Project: {project}\nReports: {project / 'reports'}/evaluation.html, drift.html\n", highlight=False)
    console.print(
        f"Next:\n  cd {project} && source .venv/bin/activate\n  dvc repro\n"
        "  dvc exp run -S train.model=logistic_regression\n  dvc metrics diff",
        highlight=False,
    )


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except FileNotFoundError as error:
        sys.exit(f"Error: there is no {error.filename}, since a step above failed: see what it says, and try again")
