"""What the kernel tells of processes and does at their death.

Nothing but the standard library, so that small programs start fast.
"""

import ctypes
import os
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_STATE, _START_TICKS = 0, 19  # fields of /proc/<pid>/stat behind the program's name
_PR_SET_PDEATHSIG = 1  # prctl(2)


def boot() -> str:
    """Which boot of the machine this is; another machine, and this one started anew, have another."""
    return _BOOT.read_text(encoding="ascii").strip()


def identity(pid: int) -> dict[str, object] | None:
    """A process by id, start and boot of the machine; None if it has ended, even where nobody has noticed yet."""
    fields = _stat_fields(pid)
    if fields is None or fields[_STATE] in "ZX":
        return None
    return {"pid": pid, "started": int(fields[_START_TICKS]), "boot": boot()}


def bind_to(starter: int, signal: int) -> bool:
    """Ask the kernel for a signal to this process when its starter dies.

    Returns:
        Whether the starter lived when the kernel was asked; if not, no signal will come.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal)
    return os.getppid() == starter


def _stat_fields(pid: int) -> list[str] | None:
    """What stands in ``/proc/<pid>/stat`` behind the program's name, which may hold anything; None if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
