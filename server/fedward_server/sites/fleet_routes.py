"""``/api/v1/fleet``: for agents. Not to be mixed up with ``/v1/fleet``, where Flower's SuperNodes exchange weights."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from fedward_core.fleet_messages import Answer, Cards, Enrolment, Heartbeat, Instructions, Membership
from fedward_server.keys.access import OwnSite, Tables
from fedward_server.sites import service
from fedward_server.sites.fleet import Fleet

router = APIRouter(prefix="/fleet", tags=["fleet"])


def fleet_of(request: Request) -> Fleet:
    """The fleet of the application that got the request."""
    fleet: Fleet = request.app.state.fleet
    return fleet


Sites = Annotated[Fleet, Depends(fleet_of)]


@router.post("/enrolments", status_code=201)
async def enrol(enrolment: Enrolment, request: Request, database: Tables, fleet: Sites) -> Membership:
    """Become a site, with a token that works once. The key is shown this once."""
    port = request.url.port or (443 if request.url.scheme == "https" else 80)
    return await fleet.enrol(database, enrolment, port)


@router.post("/heartbeats")
async def take_heartbeat(heartbeat: Heartbeat, site: OwnSite, database: Tables, fleet: Sites) -> Instructions:
    """Report, and hear what is wanted."""
    wishes = await fleet.board.wishes(database)
    fleet.presence.note(site, heartbeat)
    return wishes.for_site(site, heartbeat, fleet.heartbeat_s)


@router.put("/cards", status_code=204)
async def take_cards(cards: Cards, site: OwnSite, database: Tables, fleet: Sites) -> None:
    """Tell all datasets in counts; what was told before is replaced."""
    async with database.writing() as session:
        await service.take_cards(session, site, cards)
    fleet.board.forget()


@router.post("/answers", status_code=204)
async def take_answer(answer: Answer, site: OwnSite, database: Tables, fleet: Sites) -> None:
    """Answer a proposal. Giving the same answer again is fine."""
    async with database.writing() as session:
        await service.take_answer(session, site, answer)
    fleet.board.forget()
