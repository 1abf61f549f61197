"""Which versions may work together. Flower refuses a peer of another minor version, and so do we, with the reason."""

from functools import cache
from importlib.metadata import version

from fedward_core import __version__
from fedward_core.fleet_messages import Versions


@cache
def our_versions() -> Versions:
    """What runs here. Flower is asked for by its name in the installation, and not imported."""
    return Versions(fedward=__version__, flower=version("flwr"))


def flower_fault(theirs: Versions) -> str | None:
    """Why their Flower does not fit ours, or None if it does."""
    ours = our_versions()
    if _minor(theirs.flower) == _minor(ours.flower):
        return None
    return (
        f"the site runs Flower {theirs.flower} and the coordinator {ours.flower}, which refuse each other: "
        f"install flwr {'.'.join(_minor(ours.flower))} at the site"
    )


def version_fault(theirs: Versions) -> str | None:
    """Why a site with these versions cannot take part in a run, or None if it can."""
    ours = our_versions()
    if theirs.fedward != ours.fedward:
        return (
            f"the site runs Fedward {theirs.fedward} and the coordinator {ours.fedward}: "
            "install the same release at both"
        )
    return flower_fault(theirs)


def _minor(text: str) -> tuple[str, ...]:
    return tuple(text.split(".")[:2])
