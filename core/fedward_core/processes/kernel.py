"""What the kernel tells of a process. Nothing but the standard library, so that small programs start fast."""

from pathlib import Path

BOOT = Path("/proc/sys/kernel/random/boot_id")
STATE, START_TICKS = 0, 19  # fields of /proc/<pid>/stat behind the program's name


def stat_fields(pid: int) -> list[str] | None:
    """What stands in ``/proc/<pid>/stat`` behind the program's name, which may hold anything; None if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def identity(pid: int) -> dict[str, object] | None:
    """A process by id, start and boot of the machine; None if it has ended, even where nobody has noticed yet."""
    fields = stat_fields(pid)
    if fields is None or fields[STATE] in "ZX":
        return None
    return {"pid": pid, "started": int(fields[START_TICKS]), "boot": BOOT.read_text(encoding="ascii").strip()}
