"""The ClientApp: the same for every engine. It learns where it is from a function that the engine gives."""

from collections.abc import Callable

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedward_client.flower.messages import read_order, write_reply
from fedward_client.site_work import SiteSettings, answer

Locate = Callable[[Context], SiteSettings]


def make_client_app(locate: Locate) -> ClientApp:
    """A ClientApp that answers every kind of order.

    Args:
        locate: Tells, from a node's context, which site it is and where its data and private state lie.
    """
    app = ClientApp()

    def handle(message: Message, context: Context) -> Message:
        order, incoming = read_order(message)
        reply, groups = answer(order, incoming, locate(context))
        return write_reply(message, reply, groups)

    app.train()(handle)
    app.evaluate()(handle)
    app.query()(handle)
    app.query("plan")(handle)
    return app
