"""Answers a task in its app's stead, by a coded error: for an app that was refused, was ended or died."""

from flwr.app import Context, Error, Message, RecordDict
from flwr.common.constant import SubStatus
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

from fedward_client.flower.runtime import connect
from fedward_core.refusal import REFUSED, Refusal


def answer_for(address: str, token: str, refusal: Refusal, message: Message | None = None) -> None:
    """Answer the message of a task, and end the task.

    Args:
        address: The SuperNode's Runtime API.
        token: The task's.
        refusal: The answer.
        message: What the app was working on, without its content; None if the app has not fetched it.

    Raises:
        httpx.HTTPError: The SuperNode does not answer, or knows the task no more.
    """
    client = connect(address, token)
    try:
        message, context = _pulled(client) if message is None else (message, _context_of(message))
        error = Error(code=REFUSED, reason=refusal.model_dump_json())
        push_message(client, Message(error, reply_to=message), context)
        push_task_output(client, None, SubStatus.FAILED, refusal.ground)
    except RuntimeError:  # Flower's word for a message that is no longer there, so that nobody waits for an answer
        push_task_output(client, None, SubStatus.FAILED, refusal.ground)
    finally:
        client.close()


def give_up(address: str, token: str, reason: str) -> None:
    """End a task that has no message to answer."""
    client = connect(address, token)
    try:
        push_task_output(client, None, SubStatus.FAILED, reason)
    finally:
        client.close()


def _pulled(client: RuntimeHttpClient) -> tuple[Message, Context]:
    message, context, _, _ = pull_task_input(client)
    return message, context


def _context_of(message: Message) -> Context:
    """Flower asks for nothing of it but who sends, and for which run."""
    node, run = message.metadata.dst_node_id, message.metadata.run_id
    return Context(run_id=run, node_id=node, node_config={}, state=RecordDict(), run_config={})
