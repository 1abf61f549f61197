"""The ClientApp at a hospital, which the app bundle names. It learns its site from the agent, its run from Flower."""

import json
import logging
import re
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp

from fedward_client.agent.consents import Consents
from fedward_client.agent.fence import Fence
from fedward_client.flower.app_settings import AppSettings, read_settings
from fedward_client.flower.client_app import make_client_app
from fedward_client.flower.work_note import note_message
from fedward_client.jobs.slot import Slot
from fedward_client.site_work import SiteSettings
from fedward_core.order import Order, Work
from fedward_core.refusal import REFUSED, Ground, Refusal
from fedward_core.spec import Spec

RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

log = logging.getLogger(__name__)


def make_deployed_app() -> ClientApp:
    """A ClientApp that refuses what it must not do, and then does what every engine's does.

    Flower would send the text of an exception to the coordinator. Here it stays in the site's log.
    """
    app, inner = ClientApp(), make_client_app(_locate)

    def handle(message: Message, context: Context) -> Message:
        settings = read_settings()
        try:
            order = Order.model_validate_json(str(message.content.config_records["order"]["json"]))
            ground = _ground(message, order, context, settings)
            if ground is not None:
                return _refuse(message, settings, ground)
            with _turn(order, settings):
                return inner(message, context)
        except Exception:
            log.exception("a message could not be worked on")
            return _refuse(message, settings, Ground.APP_FAILED)

    app.train()(handle)
    app.evaluate()(handle)
    app.query()(handle)
    app.query("plan")(handle)
    return app


def _ground(message: Message, order: Order, context: Context, settings: AppSettings) -> Ground | None:
    """Why the message is refused, if it is."""
    run = str(context.run_config["run"])
    note_message(message, run=run, attempt=order.attempt)
    if not RUN_NAME.fullmatch(run):
        return Ground.RUN_NAME
    if settings.consents and not _agreed(Consents(settings.consents), run, context):
        return Ground.NO_CONSENT
    return None if Fence(settings.private / run).admits(order.attempt) else Ground.LOWER_ATTEMPT


def _agreed(consents: Consents, run: str, context: Context) -> bool:
    """Packages first: to read a spec is to import what it names."""
    named = json.loads(str(context.run_config["spec"]))
    return consents.covers_packages(run, named) and consents.cover(run, _spec(context).digest())


def _turn(order: Order, settings: AppSettings) -> AbstractContextManager[None]:
    """The site's slot, where one is shared, for all that builds, trains or evaluates: counting images needs none."""
    if settings.slot is None or order.work is Work.DESCRIBE:
        return nullcontext()
    return Slot(settings.slot).for_order()


def _refuse(message: Message, settings: AppSettings, ground: Ground) -> Message:
    refusal = Refusal(site=settings.site, ground=ground)
    return Message(Error(code=REFUSED, reason=refusal.model_dump_json()), reply_to=message)


def _locate(context: Context) -> SiteSettings:
    settings = read_settings()
    spec, private = _spec(context), settings.private / str(context.run_config["run"])
    return SiteSettings(
        site=settings.site,
        spec=spec,
        data=settings.data_of(spec.dataset.name),
        private=private,
        public=_public(spec, settings),
    )


def _public(spec: Spec, settings: AppSettings) -> Path | None:
    """The spec's public dataset. Only a site that agreed to this very spec by its policy has consented to it."""
    public = spec.evaluate.public
    return settings.data_of(public.name) if public and settings.consents else None


def _spec(context: Context) -> Spec:
    return Spec.model_validate_json(str(context.run_config["spec"]))


app = make_deployed_app()
