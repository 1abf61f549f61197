"""A hospital's web proxy, as its machines' environment names it, is for other machines: none is asked for this one.

Coordinator, SuperLink and agents of one machine speak over loopback. Every library with which they do reads the same
variables, and so does every process that is started from here.
"""

import os
from collections.abc import MutableMapping

from fedward_core.loopback import HERE

PROXIES = ("http_proxy", "https_proxy", "all_proxy")
SPARED = ("no_proxy", "NO_PROXY")  # some libraries read one spelling only; of two, the first counts


def spare_this_machine(environment: MutableMapping[str, str] = os.environ) -> None:
    """Add this machine to what is reached without a proxy, where there is one."""
    if not any(environment.get(name) or environment.get(name.upper()) for name in PROXIES):
        return
    given = next((environment[name] for name in SPARED if environment.get(name)), "")
    spared = [name.strip() for name in given.split(",") if name.strip()]
    if "*" not in spared:
        value = ",".join(dict.fromkeys((*spared, *HERE)))
        environment.update(dict.fromkeys(SPARED, value))
