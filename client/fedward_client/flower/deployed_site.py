"""The ClientApp at a hospital, which the app bundle names. It learns its site from the agent, its run from Flower."""

import os
import re
from pathlib import Path

from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp

from fedward_client.agent.fence import Fence
from fedward_client.agent.settings import AgentSettings
from fedward_client.flower.client_app import make_client_app
from fedward_client.flower.warm_helper import SETTINGS
from fedward_client.site_work import SiteSettings
from fedward_core.order import Order
from fedward_core.refusal import REFUSED, Ground, Refusal
from fedward_core.spec import Spec

RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def make_deployed_app() -> ClientApp:
    """A ClientApp that keeps old attempts away and then does what every engine's does."""
    app, inner = ClientApp(), make_client_app(_locate)

    def handle(message: Message, context: Context) -> Message:
        settings = _settings()
        ground = _ground(message, context, settings)
        if ground is None:
            return inner(message, context)
        refusal = Refusal(site=settings.site, ground=ground)
        return Message(Error(code=REFUSED, reason=refusal.model_dump_json()), reply_to=message)

    app.train()(handle)
    app.evaluate()(handle)
    app.query()(handle)
    return app


def _ground(message: Message, context: Context, settings: AgentSettings) -> Ground | None:
    """Why the message is refused, if it is."""
    run = str(context.run_config["run"])
    if not RUN_NAME.fullmatch(run):
        return Ground.RUN_NAME
    order = Order.model_validate_json(str(message.content.config_records["order"]["json"]))
    return None if Fence(_folder(settings, run)).admits(order.attempt) else Ground.LOWER_ATTEMPT


def _locate(context: Context) -> SiteSettings:
    settings = _settings()
    return SiteSettings(
        site=settings.site,
        spec=Spec.model_validate_json(str(context.run_config["spec"])),
        data=settings.data,
        private=_folder(settings, str(context.run_config["run"])),
    )


def _folder(settings: AgentSettings, run: str) -> Path:
    return settings.private / run


def _settings() -> AgentSettings:
    """What the agent told the helper, of which this process is a fork."""
    return AgentSettings.model_validate_json(os.environ[SETTINGS])


app = make_deployed_app()
