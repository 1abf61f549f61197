"""Packages of others are known by the digest of their code, which is never imported to be known."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedward_core import registry
from fedward_core.errors import SpecError
from fedward_core.packages import Package, installed_packages, packages_named

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a package that offers one method, and whose code ends whoever imports it."""

    def make(name: str = "own-method", *, offers: str = "own", folder: str = "site", code: str = "exit()") -> Path:
        site, module = tmp_path / folder, name.replace("-", "_")
        info = site / f"{module}-1.0.dist-info"
        (site / module).mkdir(parents=True)
        info.mkdir()
        (site / module / "config.py").write_text(code)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[fedward.methods]\n{offers} = {module}.config:Config\n")
        (info / "RECORD").write_text(f"{module}/config.py,,\n{module}-1.0.dist-info/METADATA,,\n")
        monkeypatch.syspath_prepend(str(site))
        registry._entries.cache_clear()
        return site / module

    yield make
    registry._entries.cache_clear()


def spec(method: str) -> dict[str, object]:
    return {"name": "run", "stages": [{"name": "train", "method": {"name": method}}]}


def only(packages: tuple[Package, ...]) -> Package:
    (package,) = packages
    return package


def test_nothing_but_fedward_is_named_where_nothing_else_is_installed() -> None:
    assert packages_named(spec("supervised")) == ()


def test_a_package_is_named_by_what_it_offers_and_never_imported(install: Install) -> None:
    install()
    found = only(packages_named(spec("own")))
    assert (found.name, found.version, len(found.sha256)) == ("own-method", "1.0", 64)
    assert packages_named(spec("supervised")) == ()
    assert only(installed_packages()) == found
    assert not any(name.startswith("own_method") for name in sys.modules)


@pytest.mark.parametrize("where", ["method", "list", "nested"])
def test_a_name_counts_wherever_it_stands(where: str, install: Install) -> None:
    install()
    values = {"method": {"method": "own"}, "list": {"filters": ["own"]}, "nested": {"a": [{"b": {"name": "own"}}]}}
    assert packages_named(values[where])


def test_one_changed_byte_makes_another_package(install: Install) -> None:
    module = install()
    before = only(installed_packages())
    (module / "config.py").write_text("exit(1)")
    after = only(installed_packages())
    assert (before.name, before.version) == (after.name, after.version)
    assert before.sha256 != after.sha256


def test_a_file_that_no_record_lists_counts_too(install: Install) -> None:
    module = install()
    before = only(installed_packages())
    (module / "more.py").write_text("")
    assert only(installed_packages()) != before


def test_what_python_compiled_counts_as_nothing(install: Install) -> None:
    module = install()
    before = only(installed_packages())
    (module / "__pycache__").mkdir()
    (module / "__pycache__" / "config.pyc").write_bytes(b"compiled")
    assert only(installed_packages()) == before


def test_compiled_files_that_a_package_brings_along_are_refused(install: Install) -> None:
    module = install()
    record = module.parent / "own_method-1.0.dist-info" / "RECORD"
    compiled = "own_method/__pycache__/config.cpython-311.pyc"
    record.write_text(f"{record.read_text()}{compiled},,\n")
    installed_packages()
    record.write_text(f"{record.read_text()}{compiled},sha256=AAAA,8\n")
    with pytest.raises(SpecError, match="own-method brings compiled files"):
        installed_packages()


def test_a_link_to_a_folder_whose_code_no_digest_covers_is_refused(install: Install, tmp_path: Path) -> None:
    module = install()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (module / "more").symlink_to(elsewhere)
    with pytest.raises(SpecError, match="'own_method' holds a link to a folder") as caught:
        installed_packages()
    assert str(tmp_path) not in str(caught.value)


def test_the_same_files_have_the_same_digest_wherever_they_lie(install: Install) -> None:
    install(folder="here")
    here = only(installed_packages())
    sys.path.pop(0)
    install(folder="there")
    assert only(installed_packages()) == here


def test_the_same_code_under_another_name_is_another_package(install: Install) -> None:
    """What was approved as a method is not approved as one that hides another."""
    module = install()
    before = only(installed_packages())
    names = module.parent / "own_method-1.0.dist-info" / "entry_points.txt"
    names.write_text("[fedward.methods]\nother = own_method.config:Config\n")
    assert only(installed_packages()).sha256 != before.sha256


@pytest.mark.parametrize("init", [True, False], ids=["package", "namespace"])
def test_of_a_package_in_two_places_the_one_counts_that_an_import_finds(init: bool, install: Install) -> None:
    modules = [install(folder="behind"), install(folder="before", offers="other", code="exit(1)")]
    for module in modules if init else ():
        (module / "__init__.py").touch()
    both = only(installed_packages())
    assert sys.path.pop(1).endswith("behind")
    assert only(installed_packages()) == both


def test_a_package_whose_code_is_nowhere_is_an_error(install: Install) -> None:
    module = install()
    (module / "config.py").unlink()
    module.rmdir()
    with pytest.raises(SpecError, match="cannot be found"):
        installed_packages()


def test_no_package_may_hide_a_name_of_another(install: Install) -> None:
    install(offers="mae")
    with pytest.raises(SpecError, match="several installed packages offer the method 'mae': fedward, own-method"):
        registry.resolve("methods", "mae")


def test_code_that_cannot_be_read_is_an_error_that_tells_no_path(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    install()
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(SpecError, match=r"cannot be read \(Permission denied\)") as caught:
        packages_named(spec("own"))
    assert "own_method" not in str(caught.value)
