"""Rules of invitations: a one-time token for a site's name, of which only the digest is kept."""

import secrets
import time

from sqlalchemy.ext.asyncio import AsyncSession

from fedward_server.errors import ConflictError, ForbiddenError
from fedward_server.keys.service import digest_of
from fedward_server.sites import queries
from fedward_server.sites.models import CreateInvitationRequest, Invitation
from fedward_server.sites.rows import InvitationRow, SiteRow

PREFIX = "fi_"
ASK = "ask the administrator of the coordinator for a new invitation"


async def invite(session: AsyncSession, request: CreateInvitationRequest) -> Invitation:
    """Make an invitation; an older one of the same site opens nothing from now on.

    Raises:
        ConflictError: The site is enrolled.
    """
    if await session.get(SiteRow, request.site):
        raise ConflictError(f"site '{request.site}' is enrolled: revoke it first if it is to enrol anew")
    await queries.forget_invitations(session, request.site)
    token, now = PREFIX + secrets.token_urlsafe(32), time.time()
    expires_s = now + request.valid_s
    session.add(InvitationRow(digest=digest_of(token), site=request.site, created_s=now, expires_s=expires_s))
    return Invitation(site=request.site, token=token, expires_s=expires_s)


async def valid_invitation(session: AsyncSession, token: str) -> InvitationRow:
    """The invitation of a token that may still be used.

    Raises:
        ForbiddenError: The token is not of this coordinator, has expired, or was used.
    """
    row = await queries.invitation_with(session, digest_of(token))
    if row is None:
        raise ForbiddenError(f"this coordinator knows no such token: check both, or {ASK}")
    if row.used_s is not None:
        raise ForbiddenError(f"this token was used already, and works once only: {ASK}")
    if row.expires_s <= time.time():
        raise ForbiddenError(f"this token has expired: {ASK}")
    return row
