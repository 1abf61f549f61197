"""Run an agent without a coordinator: ``python -m fedward_client.agent SETTINGS.json``, until SIGTERM or Ctrl-C."""

import signal
import sys
import threading
from pathlib import Path

from fedward_client.agent.node import Link
from fedward_client.agent.settings import AgentSettings
from fedward_client.agent.site_agent import SiteAgent
from fedward_client.flower.app_settings import AppSettings


def main(settings: AgentSettings, stop: threading.Event) -> None:
    """Serve a site."""
    apps = AppSettings(site=settings.site, data=settings.data, private=settings.private)
    with SiteAgent(apps, link=Link(superlink=settings.superlink), home=settings.home, approvals=settings) as agent:
        agent.run(stop)


if __name__ == "__main__":
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    main(AgentSettings.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8")), ended)
