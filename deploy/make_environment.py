"""Makes or mends ``.venv`` with everything that Fedward needs; ``make setup`` calls it.

It needs a Python and nothing else, not even pip. uv does the work: one that is on the PATH, else one that pip installs,
else one fetched from the index and compared with its checksum. uv's own settings (``UV_*``) are respected, and so are
the index and the certificate that pip is set to.

    missing, interrupted, broken, or moved here  -->  made anew
    pyproject.toml or constraints.txt changed    -->  brought up to date
    nothing changed                              -->  left alone, in a fraction of a second
"""

from __future__ import annotations

import configparser
import hashlib
import importlib.util
import io
import json
import os
import platform
import shutil
import ssl
import subprocess
import sys
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

OLDEST_PYTHON = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
CONSTRAINTS = ROOT / "constraints.txt"
FETCHED = ENVIRONMENT / "fetched-uv"
STAMP = ENVIRONMENT / "fedward-setup"  # the state that the last set-up was made for, or:
UNFINISHED = "unfinished"
EXTRAS = "server,client,models,simulation,distributed,export,dev"

# uv reads no setting of pip; these mean the same under another name.
UV_NAME_OF = {"index-url": "UV_DEFAULT_INDEX", "cert": "SSL_CERT_FILE"}

# Later ones prevail.
PIP_FILES = (
    "/etc/pip.conf",
    "/etc/xdg/pip/pip.conf",
    Path.home() / ".pip/pip.conf",
    Path.home() / ".config/pip/pip.conf",
)


class SetupError(Exception):
    """The environment cannot be made; the message says what to do."""


def main() -> None:
    """Set up, and turn every expected failure into a sentence."""
    if sys.version_info < OLDEST_PYTHON:
        needed = ".".join(map(str, OLDEST_PYTHON))
        sys.exit(
            f"setup: expected Python {needed} or newer, found {platform.python_version()}: make PYTHON=python3.11 ..."
        )
    try:
        set_up()
    except (SetupError, OSError) as error:
        sys.exit(f"setup: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"setup: {Path(error.cmd[0]).name} failed, see above. Run the same again when the cause is mended.")
    except KeyboardInterrupt:
        sys.exit("\nsetup: interrupted. Run the same again.")


def set_up() -> None:
    """Bring the environment to the state that the repository's files ask for."""
    if not is_whole():
        create_environment()
    elif stamp() == wanted_state():
        return
    install(find_uv())


def is_whole() -> bool:
    """Whether the environment was made in this place, no set-up of it was interrupted, and its Python runs."""
    if stamp() == UNFINISHED or not was_made_here():
        return False
    try:
        code = f"import sys; sys.exit(sys.version_info < {OLDEST_PYTHON} or sys.prefix != {str(ENVIRONMENT)!r})"
        return subprocess.run([PYTHON, "-c", code], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def was_made_here() -> bool:
    """Whether the environment was made in this place: a moved one keeps the old place in all its scripts."""
    activate = ENVIRONMENT / "bin" / "activate"
    return activate.is_file() and str(ENVIRONMENT) in activate.read_text(encoding="utf-8")


def stamp() -> str:
    """What the last set-up left; nothing if the environment was made by other means."""
    return STAMP.read_text(encoding="utf-8") if STAMP.is_file() else ""


def wanted_state() -> str:
    """A digest of the files that decide what is installed."""
    files = (ROOT / "pyproject.toml", CONSTRAINTS, Path(__file__))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def create_environment() -> None:
    """Make an environment without pip, which Debian's bare Python can do too."""
    if ENVIRONMENT.exists():
        say("removing .venv: it is incomplete, or was made in another place.")
        shutil.rmtree(ENVIRONMENT)
    say(f"making .venv with Python {platform.python_version()}.")
    call(Path(sys.executable).resolve(), "-m", "venv", "--without-pip", ENVIRONMENT)


def install(uv: Path) -> None:
    """Install Fedward from this folder with everything it needs, in the tested versions."""
    say("installing Fedward with torch, Flower and the tools. The first time this fetches 3 GB: 2 to 10 minutes.")
    STAMP.write_text(UNFINISHED, encoding="utf-8")
    constraints = ("--constraints", CONSTRAINTS, "--build-constraints", CONSTRAINTS)
    call(uv, "pip", "install", "--python", PYTHON, *constraints, "--editable", f"{ROOT}[{EXTRAS}]")
    shutil.rmtree(FETCHED, ignore_errors=True)
    STAMP.write_text(wanted_state(), encoding="utf-8")
    say("done.")


def find_uv() -> Path:
    """The first uv that can be had.

    Raises:
        SetupError: None can.
    """
    uv = uv_at_hand() or uv_from_pip() or uv_from_index()
    if uv is None:
        raise SetupError("cannot fetch uv, see above. Install it by other means, see https://docs.astral.sh/uv")
    return uv


def uv_at_hand() -> Path | None:
    """The uv on the PATH, or the one of an earlier set-up."""
    found = shutil.which("uv") or shutil.which("uv", path=str(ENVIRONMENT / "bin"))
    return Path(found) if found else None


def uv_from_pip() -> Path | None:
    """A uv that pip puts into the environment; None where this Python has no pip, or pip gets no uv."""
    if importlib.util.find_spec("ensurepip") is None:
        return None
    say("fetching uv with pip.")
    try:
        call(PYTHON, "-m", "ensurepip", "--default-pip", quiet=True)
        call(PYTHON, "-m", "pip", "install", "--quiet", "--target", FETCHED, f"uv=={uv_version()}")
    except subprocess.CalledProcessError:
        return None
    return FETCHED / "bin" / "uv"


def uv_from_index() -> Path | None:
    """A uv fetched with the standard library and compared with the checksum that the index tells."""
    version = uv_version()
    say(f"fetching uv {version} from the package index.")
    try:
        wheel = find_wheel(version)
        content = fetch(wheel["url"])
    except (OSError, ValueError) as error:
        say(f"cannot fetch it: {error}. Are ca-certificates installed, and the proxy's variables set?")
        return None
    if hashlib.sha256(content).hexdigest() != wheel["hashes"]["sha256"]:
        raise SetupError(f"{wheel['filename']} does not fit its checksum: something on the way changed it")
    return unpack_uv(content, version)


def find_wheel(version: str) -> dict[str, Any]:
    """What the index tells about uv's wheel for this system and processor.

    Raises:
        OSError: The index does not answer.
        ValueError: It does not speak JSON (PEP 691), or has no such wheel.
    """
    index = environment_for_tools().get("UV_DEFAULT_INDEX", "https://pypi.org/simple").rstrip("/") + "/uv/"
    system = "manylinux" if sys.platform == "linux" else "macosx"
    for file in json.loads(fetch(index))["files"]:
        name = file["filename"]
        if name.startswith(f"uv-{version}-") and system in name and name.endswith(f"{platform.machine()}.whl"):
            return {**file, "url": urllib.parse.urljoin(index, file["url"])}
    raise ValueError(f"there is no uv {version} for {sys.platform} on {platform.machine()}")


def unpack_uv(wheel: bytes, version: str) -> Path:
    """Take the program out of its wheel."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        uv = Path(archive.extract(f"uv-{version}.data/scripts/uv", FETCHED))
    uv.chmod(0o755)
    return uv


def uv_version() -> str:
    """The version in the constraints."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    return next(line.split("==")[1] for line in lines if line.startswith("uv=="))


def fetch(address: str) -> bytes:
    """Read an address, with the certificates that pip was told to use."""
    request = urllib.request.Request(address, headers={"Accept": "application/vnd.pypi.simple.v1+json, */*;q=0.1"})
    context = ssl.create_default_context(cafile=pip_setting("cert"))
    with urllib.request.urlopen(request, context=context, timeout=60) as answer:
        return bytes(answer.read())


def pip_setting(name: str) -> str | None:
    """A setting of pip: its variable, else its configuration files."""
    variable = os.environ.get("PIP_" + name.upper().replace("-", "_"))
    settings = configparser.RawConfigParser()
    settings.read([*PIP_FILES, os.environ.get("PIP_CONFIG_FILE", "")])
    return variable or settings.get("global", name, fallback=None)


def environment_for_tools() -> dict[str, str]:
    """This process's variables, with pip's settings under uv's names where uv has none of its own."""
    variables = dict(os.environ)
    if "UV_INDEX_URL" in variables:  # the older name of UV_DEFAULT_INDEX
        variables.setdefault("UV_DEFAULT_INDEX", variables["UV_INDEX_URL"])
    for ours, theirs in UV_NAME_OF.items():
        value = pip_setting(ours)
        if value:
            variables.setdefault(theirs, value)
    return variables


def call(*command: str | Path, quiet: bool = False) -> None:
    """Run a program and wait for it.

    Raises:
        CalledProcessError: It failed; what it printed says why.
    """
    output = subprocess.DEVNULL if quiet else None
    subprocess.run(command, check=True, env=environment_for_tools(), stdin=subprocess.DEVNULL, stdout=output, cwd=ROOT)


def say(message: str) -> None:
    """Tell what is being done, at once also where output is a file."""
    print(f"setup: {message}", flush=True)


if __name__ == "__main__":
    main()
