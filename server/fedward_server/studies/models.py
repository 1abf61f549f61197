"""Studies as they are spoken of."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from fedward_core.config import Frozen
from fedward_core.spec import NAME

# A site's name becomes a folder's name.
SiteName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]


class CreateStudyRequest(Frozen):
    """A study to be made.

    Attributes:
        name: Its name.
        data: The folder on the coordinator's machine with one file or folder for each simulated site. Without one,
            only methods that read no images can run: a rehearsal.
        sites: The sites; left out, all that the folder holds.
        enrolled: Whether the sites are hospitals that have enrolled; otherwise they are simulated on this machine.
        classes: The study's classes in the order of their label numbers; left out, each spec names its own.
    """

    name: str = Field(pattern=NAME)
    data: str | None = None
    sites: tuple[SiteName, ...] = ()
    enrolled: bool = False
    classes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check_sites(self) -> Self:
        if self.data is None and not self.sites:
            raise ValueError("a study without data names its sites: give data, or sites")
        if len(set(self.sites)) < len(self.sites):
            raise ValueError("a site is named twice")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("a class is named twice")
        if self.enrolled and self.data is not None:
            raise ValueError("enrolled sites keep their data: leave data out, or enrolled")
        return self


class Study(Frozen):
    """A study, as everybody may see it; see :class:`CreateStudyRequest`. One with data is simulated from a folder."""

    name: str
    sites: tuple[str, ...]
    enrolled: bool
    classes: tuple[str, ...]
    has_data: bool
    created_s: float
