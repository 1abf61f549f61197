"""Rules of studies: what one is made of, and which specs fit it."""

import time
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from fedward_core.errors import DataError, SpecError
from fedward_core.registry import load
from fedward_core.spec import Spec
from fedward_server.errors import ConflictError
from fedward_server.sites.queries import sites_named
from fedward_server.studies import queries
from fedward_server.studies.models import CreateStudyRequest, Study
from fedward_server.studies.rows import StudyRow


def sites_of(request: CreateStudyRequest) -> tuple[str, ...]:
    """The sites of a study that is to be made; reads the data folder, and so belongs outside a transaction.

    Raises:
        DataError: The folder does not exist or cannot be read, holds no site, or lacks one that is named.
    """
    if request.data is None:
        return tuple(sorted(request.sites))
    found = _sites_in(Path(request.data))
    missing = sorted(set(request.sites) - set(found))
    if missing:
        raise DataError(f"the data folder has no site {', '.join(missing)}: it has {', '.join(found)}")
    return tuple(sorted(request.sites)) or found


async def create_study(session: AsyncSession, request: CreateStudyRequest, sites: tuple[str, ...]) -> Study:
    """Make a study; making the same one again is fine.

    Raises:
        ConflictError: There is another study of this name, or a site is not enrolled.
    """
    if request.enrolled:
        await _check_enrolled(session, sites)
    wanted = _row(request, sites)
    row = await session.get(StudyRow, request.name)
    if row is None:
        session.add(wanted)
        return as_study(wanted)
    if any(getattr(row, what) != getattr(wanted, what) for what in ("data", "sites", "enrolled", "classes")):
        raise ConflictError(f"there is another study '{request.name}': choose another name")
    return as_study(row)


async def list_studies(session: AsyncSession) -> list[Study]:
    """Every study, by name."""
    return [as_study(row) for row in await queries.all_studies(session)]


def fit_spec(spec: Spec, study: Study) -> tuple[Spec, tuple[str, ...]]:
    """The spec with the study's classes, and the sites that take part.

    Raises:
        SpecError: The spec wants other classes, sites that the study does not have, or more sites than it has.
    """
    named = spec.dataset.classes
    if study.classes and named and named != study.classes:
        raise SpecError(
            f"study '{study.name}' has the classes {', '.join(study.classes)}, the spec names {', '.join(named)}: "
            "leave dataset.classes out, or name the study's"
        )
    sites = _taking_part(spec, study)
    classes = study.classes or named
    return spec.model_copy(update={"dataset": spec.dataset.model_copy(update={"classes": classes})}), sites


def as_study(row: StudyRow) -> Study:
    """The study of a row."""
    return Study(
        name=row.name,
        sites=tuple(row.sites),
        enrolled=row.enrolled,
        classes=tuple(row.classes),
        has_data=row.data is not None,
        created_s=row.created_s,
    )


def _row(request: CreateStudyRequest, sites: tuple[str, ...]) -> StudyRow:
    return StudyRow(
        name=request.name,
        data=str(Path(request.data).resolve()) if request.data is not None else None,
        sites=list(sites),
        enrolled=request.enrolled,
        classes=list(request.classes),
        created_s=time.time(),
    )


async def _check_enrolled(session: AsyncSession, sites: tuple[str, ...]) -> None:
    missing = sorted(set(sites) - set(await sites_named(session, sites)))
    if missing:
        raise ConflictError(f"{', '.join(missing)} of the study's sites are not enrolled: invite them first")


def _sites_in(data: Path) -> tuple[str, ...]:
    try:
        found: tuple[str, ...] = load("fedward_models.data.source:sites_in")(data)
    except OSError as error:
        raise DataError(f"the data folder cannot be read: {error.strerror}") from error
    return found


def _taking_part(spec: Spec, study: Study) -> tuple[str, ...]:
    sites = study.sites if spec.cohort.sites == "all" else tuple(sorted(spec.cohort.sites))
    missing = sorted({*sites, *spec.cohort.hold_out} - set(study.sites))
    if missing:
        raise SpecError(f"study '{study.name}' has no site {', '.join(missing)}: it has {', '.join(study.sites)}")
    training = len(spec.cohort.training(sites))
    if training < spec.cohort.min_sites:
        raise SpecError(
            f"cohort.min_sites is {spec.cohort.min_sites}, but {training} sites of study '{study.name}' would train: "
            "lower it, or add sites"
        )
    if fault := spec.folding_fault(training):
        raise SpecError(fault)
    return sites
