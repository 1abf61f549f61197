"""Runs every benchmark, each in a process of its own: ``python -m benchmarks``."""

import subprocess
import sys

from benchmarks.report import machine

QUESTIONS = (
    "import_time",
    "empty_round",
    "deployed_round",
    "cold_start",
    "first_step",
    "training",
    "method_cost",
    "aggregation",
    "server_memory",
    "loading",
    "rest_latency",
)


def main() -> None:
    """Print the machine, then one table for each question."""
    print(machine(), flush=True)
    for question in QUESTIONS:
        print(flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{question}"], check=True)


if __name__ == "__main__":
    main()
