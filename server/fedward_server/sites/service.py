"""Rules of enrolled sites: what they tell of themselves, how they are shown, and how they are revoked."""

import time
from collections import defaultdict

from sqlalchemy.ext.asyncio import AsyncSession

from fedward_core.cards import DatasetCard
from fedward_core.fleet_messages import Answer, Cards, Versions
from fedward_server.errors import ConflictError, InvalidError, NotFoundError
from fedward_server.keys.service import delete_agent_key
from fedward_server.runs.queries import run_named
from fedward_server.runs.rows import RunRow
from fedward_server.runs.states import SITE_ANSWERED, WORKING, RunState, add_event
from fedward_server.sites import queries
from fedward_server.sites.models import Dataset, Site
from fedward_server.sites.rows import AnswerRow, SiteRow

# Decided here: six heartbeats of the usual five seconds; one or two may be lost on a slow line.
OFFLINE_S = 30.0
# An agent that cannot reach the coordinator tries again at least once a minute.
RETURN_S = 60.0


async def list_sites(session: AsyncSession) -> list[Site]:
    """Every enrolled site, by name."""
    return [as_site(row) for row in await queries.all_sites(session)]


async def list_datasets(session: AsyncSession) -> list[Dataset]:
    """Every dataset that a site has, by name."""
    found: dict[str, list[DatasetCard]] = defaultdict(list)
    for site in await list_sites(session):
        for card in site.datasets:
            found[card.dataset].append(card)
    return [Dataset(name=name, cards=tuple(cards)) for name, cards in sorted(found.items())]


async def take_cards(session: AsyncSession, site: str, cards: Cards) -> None:
    """Keep what a site tells of its datasets.

    Raises:
        InvalidError: A card is of another site, or two are of one dataset.
    """
    foreign = sorted({card.site for card in cards.cards} - {site})
    if foreign:
        raise InvalidError(f"site '{site}' may tell its own cards only, and sent some of {', '.join(foreign)}")
    if len({card.dataset for card in cards.cards}) < len(cards.cards):
        raise InvalidError("two cards are of one dataset: send one card for each")
    row = await queries.site_named(session, site)
    row.cards, row.cards_digest = [card.model_dump(mode="json") for card in cards.cards], cards.digest


async def take_answer(session: AsyncSession, site: str, answer: Answer) -> None:
    """Keep a site's answer; while the run is recruiting, the newest counts. Later, a site may still say no, once.

    Raises:
        NotFoundError: No run of this name asks for the site.
        ConflictError: The run asks nobody any more.
    """
    run = await run_named(session, answer.run, to_change=True)
    if not run.app or site not in run.sites:
        raise NotFoundError(f"no run '{answer.run}' asks for site '{site}'")
    there = await session.get(AnswerRow, (answer.run, site))
    if there is not None and (there.takes_part, there.reason) == (answer.takes_part, answer.reason):
        return
    if run.state != RunState.RECRUITING and (answer.takes_part or run.state not in WORKING):
        raise ConflictError(f"run '{run.id}' is {run.state} and takes no answers any more")
    if run.state != RunState.RECRUITING and there is not None and not there.takes_part:
        return  # its no stands, whatever the reason: a run's events are not for filling
    _write_answer(session, run, site, answer)
    await session.merge(_answer_row(site, answer))


async def revoke(session: AsyncSession, site: str) -> None:
    """Forget a site: its key opens nothing, and it, or another one of its name, can be invited again.

    Raises:
        NotFoundError: It is not enrolled.
    """
    await session.delete(await queries.site_named(session, site))
    await delete_agent_key(session, site)
    await queries.forget_invitations(session, site)
    await queries.forget_answers_of(session, site)


def is_online(last_seen_s: float | None, now_s: float) -> bool:
    """Whether a site that was heard of then counts as connected."""
    return last_seen_s is not None and now_s - last_seen_s <= OFFLINE_S


def as_site(row: SiteRow) -> Site:
    """The site of a row."""
    return Site(
        name=row.name,
        enrolled_s=row.enrolled_s,
        online=is_online(row.last_seen_s, time.time()),
        last_seen_s=row.last_seen_s,
        versions=Versions(fedward=row.fedward, flower=row.flower),
        free_disk_bytes=row.free_disk_bytes,
        gpus=tuple(row.gpus),
        clock_offset_s=row.clock_offset_s,
        approved=tuple(row.approved),
        runs=tuple(row.runs),
        datasets=tuple(DatasetCard.model_validate(card) for card in row.cards),
    )


def _write_answer(session: AsyncSession, run: RunRow, site: str, answer: Answer) -> None:
    facts = {"takes_part": answer.takes_part, "reason": answer.reason}
    add_event(session, run, {"kind": SITE_ANSWERED, "time_s": time.time(), "site": site, "facts": facts})


def _answer_row(site: str, answer: Answer) -> AnswerRow:
    return AnswerRow(
        run=answer.run, site=site, takes_part=answer.takes_part, reason=answer.reason, answered_s=time.time()
    )
