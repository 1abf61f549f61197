"""Prints what a part of Fedward needs besides Fedward itself, for ``pip install --requirement``.

    python requirements.py                  the command line alone
    python requirements.py server           a coordinator
    python requirements.py client models    a node

An image installs these first, so that a change of Fedward's own code does not fetch torch anew.
"""

import sys
import tomllib
from pathlib import Path


def requirements(extras: list[str], project: Path) -> list[str]:
    """The requirements of every part and of some extras.

    Args:
        extras: Names of extras.
        project: The ``pyproject.toml``.

    Raises:
        KeyError: There is no such extra.
    """
    declared = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    optional = declared["optional-dependencies"]
    return [*declared["dependencies"], *(line for extra in extras for line in optional[extra])]


if __name__ == "__main__":
    sys.stdout.write("\n".join(requirements(sys.argv[1:], Path("pyproject.toml"))) + "\n")
