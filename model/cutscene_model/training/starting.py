"""What ``cutscene-train`` starts with: the steps need packages that a server and a client do not."""

from __future__ import annotations

import sys


def main(arguments: list[str] | None = None) -> int:
    """Runs one step, or says what is to be installed for it. Returns the exit code."""
    try:
        from cutscene_model.training.__main__ import main as run_step
    except ModuleNotFoundError as error:
        if (error.name or "cutscene_").startswith("cutscene_"):
            raise
        print(
            f"cutscene-train: {error.name} is not installed. Training needs more than a server does:\n"
            "  make setup-dev, or pip install 'cutscene-runtime[server,training]'",
            file=sys.stderr,
        )
        return 2
    return run_step(arguments)
