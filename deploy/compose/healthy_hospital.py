"""Ends well if this hospital's agent runs, and its coordinator answers and knows it: the check of a container's health.

An agent may read nothing of the API, so the coordinator answers a key that it knows with 403, and one that it does not
know, or no longer, with 401.
"""

import ssl
import sys
from http import HTTPStatus
from pathlib import Path

import httpx

from fedward_client.agent.home import AgentHome
from fedward_client.agent.membership import authority_of, read_enrolled

TIMEOUT_S = 10.0


def is_known(home: AgentHome) -> bool:
    """Whether the coordinator answers, and knows the site's API key."""
    enrolled = read_enrolled(home)
    key = {"Authorization": f"Bearer {enrolled.membership.key}"}
    trust = ssl.create_default_context(cafile=authority_of(home))
    answer = httpx.get(f"{enrolled.url}/api/v1/sites", headers=key, verify=trust, timeout=TIMEOUT_S)
    return answer.status_code == HTTPStatus.FORBIDDEN


if __name__ == "__main__":
    place = AgentHome(Path("/srv/fedward"))
    sys.exit(0 if place.is_claimed and is_known(place) else 1)
