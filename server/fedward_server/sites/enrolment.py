"""How a site becomes one: token and public key against an API key of its own."""

import time

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from sqlalchemy.ext.asyncio import AsyncSession

from fedward_core.fleet_messages import Enrolment
from fedward_server.errors import ConflictError, InvalidError
from fedward_server.keys.service import create_agent_key
from fedward_server.sites.invitations import valid_invitation
from fedward_server.sites.rows import SiteRow
from fedward_server.sites.versions import flower_fault

CURVES = (SECP256R1, SECP384R1, SECP521R1)  # those that Flower's node authentication takes


async def check_enrolment(session: AsyncSession, enrolment: Enrolment) -> str:
    """The name of the site that wants to enrol; nothing is changed, so a site that was refused may try again.

    Raises:
        ForbiddenError: The token opens nothing.
        InvalidError: The public key cannot be used.
        ConflictError: The site's Flower does not fit ours.
    """
    site = (await valid_invitation(session, enrolment.token)).site
    _check_key(enrolment.public_key)
    fault = flower_fault(enrolment.versions)
    if fault is not None:
        raise ConflictError(f"site '{site}' cannot enrol: {fault}, then enrol with the same token")
    return site


async def enrol(session: AsyncSession, enrolment: Enrolment, node: str) -> str:
    """Use the invitation up, and make the site and its key.

    Args:
        session: A transaction that writes.
        enrolment: What was checked with :func:`check_enrolment`.
        node: Flower's id of the site's SuperNode; empty without node authentication.

    Returns:
        The API key of the site's agent, which is known to nobody else from here on.

    Raises:
        ForbiddenError: Another was quicker with the same token.
    """
    invitation = await valid_invitation(session, enrolment.token)
    now = time.time()
    invitation.used_s = now
    site = SiteRow(
        name=invitation.site,
        public_key=enrolment.public_key,
        node=node,
        enrolled_s=now,
        fedward=enrolment.versions.fedward,
        flower=enrolment.versions.flower,
    )
    session.add(site)
    return await create_agent_key(session, invitation.site)


def _check_key(pem: str) -> None:
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidError("public_key is no public key in PEM form: let `fedward agent` make one") from None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, CURVES):
        raise InvalidError("public_key must be of curve P-256, P-384 or P-521: let `fedward agent` make one")
