"""Installed packages beside Fedward's own that offer parts of a spec, each with the digest of its code.

The digest of an app bundle tells the release of Fedward, but a method of another package is code too. So a site
approves each such package by the digest of what is installed there, and one changed file makes it another package.

    a spec's words --names of entry points--> packages --their files--> SHA-256

Nothing of a package is imported here, so that one that is not approved never runs. What a package itself depends on is
software of the machine, like torch, and is not in its digest.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution, EntryPoint, distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fedward_core.config import Frozen
from fedward_core.errors import SpecError

OURS = "fedward"
_GROUPS = f"{OURS}."


class Package(Frozen):
    """An installed package.

    Attributes:
        name: Its name, as a package index knows it.
        version: Its version.
        sha256: The digest of its files and of the names that it offers, 64 hexadecimal digits.
    """

    name: str
    version: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.name} {self.version} (sha256 {self.sha256})"


def packages_named(spec: Any) -> tuple[Package, ...]:
    """The packages of which the plain values of a spec name a part, in alphabetical order.

    Every word of the spec counts that is a name offered by a package, wherever it stands: one package too many is asked
    about rather than one too few.

    Raises:
        SpecError: The code of such a package cannot be found or read, or not all of it.
    """
    words = frozenset(_words(spec))
    return _packages(package for package in _offering() if words & {entry.name for entry in _offered(package)})


def installed_packages() -> tuple[Package, ...]:
    """Every installed package beside Fedward's own that offers parts of a spec, in alphabetical order.

    Raises:
        SpecError: The code of one cannot be found or read, or not all of it.
    """
    return _packages(_offering())


def _packages(found: Iterable[Distribution]) -> tuple[Package, ...]:
    try:
        by_name = {package.name: package for package in found}
        return tuple(
            Package(name=name, version=package.version, sha256=_digest(package))
            for name, package in sorted(by_name.items())
        )
    except OSError as error:  # its text may hold a path, which must not leave a site
        reason = error.strerror or type(error).__name__
        raise SpecError(f"the code of an installed package cannot be read ({reason}): install it anew") from None


def _offering() -> Iterator[Distribution]:
    """Packages beside Fedward's own that offer something, those that an import finds first last."""
    for package in reversed(tuple(distributions())):
        if _offered(package) and package.name != OURS:
            yield package


def _offered(package: Distribution) -> list[EntryPoint]:
    return [entry for entry in package.entry_points if entry.group.startswith(_GROUPS)]


def _words(values: Any) -> Iterator[str]:
    """Every string among plain values."""
    if isinstance(values, str):
        yield values
    elif isinstance(values, Mapping):
        for value in values.values():
            yield from _words(value)
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _words(value)


def _digest(package: Distribution) -> str:
    """The SHA-256 over one line for each file and each offered name, in the manner of ``sha256sum``."""
    lines = [f"{entry.group} {entry.name} {entry.value}" for entry in _offered(package)]
    for name, path in _files(package).items():
        lines.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}")
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _files(package: Distribution) -> dict[str, Path]:
    """What was installed, and all that lies in the folders of the offered modules, as editable installs have it.

    Python compiles what it runs into ``__pycache__``, which changes without the code, so these files do not count. One
    that a package brings along could hold other code than its source: the record knows it by the digest that it has.
    """
    if any("__pycache__" in file.parts and file.hash for file in package.files or ()):
        raise SpecError(f"the package {package.name} brings compiled files, which hide code: install it without them")
    found = {
        str(file): Path(str(package.locate_file(file)))
        for file in package.files or ()
        if ".." not in file.parts and not file.parts[0].endswith(".dist-info")
    }
    for module in {entry.module.partition(".")[0] for entry in _offered(package)}:
        found.update(_module_files(module))
    return {name: path for name, path in found.items() if "__pycache__" not in path.parts and path.is_file()}


def _module_files(module: str) -> Iterator[tuple[str, Path]]:
    """The files of a top-level module, found as an import would find them, without importing it."""
    spec = find_spec(module)
    if spec is not None and spec.submodule_search_locations:
        for folder in reversed(spec.submodule_search_locations):  # what lies in the first hides what is in the others
            for path in Path(folder).rglob("*"):
                if path.is_symlink() and path.is_dir():  # an import would follow it, and this walk does not
                    raise SpecError(
                        f"the module '{module}' holds a link to a folder: install it with the folder itself"
                    )
                yield f"{module}/{path.relative_to(folder)}", path
    elif spec is not None and spec.origin and Path(spec.origin).is_file():
        yield Path(spec.origin).name, Path(spec.origin)
    else:
        raise SpecError(
            f"an installed package offers parts of the module '{module}', whose files cannot be found: install it anew"
        )
