"""Run an agent: ``python -m fedward_client.agent SETTINGS.json``. SIGTERM and Ctrl-C end it in order."""

import signal
import sys
import threading
from pathlib import Path

from fedward_client.agent.settings import AgentSettings
from fedward_client.agent.site_agent import SiteAgent

if __name__ == "__main__":
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    SiteAgent(AgentSettings.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))).run(stop)
