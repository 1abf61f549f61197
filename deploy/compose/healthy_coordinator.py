"""Ends well if the coordinator and its database answer: the check of a container's health.

FEDWARD_URL and FEDWARD_CA say where and how, as for ``fedward run``.
"""

import os
import ssl

import httpx

TIMEOUT_S = 10.0

if __name__ == "__main__":
    trust = ssl.create_default_context(cafile=os.environ.get("FEDWARD_CA"))
    httpx.get(f"{os.environ['FEDWARD_URL']}/api/v1/health", verify=trust, timeout=TIMEOUT_S).raise_for_status()
