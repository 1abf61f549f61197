"""Between Flower's messages and ours, at the site.

message: {"order": JSON, "arrays": one ArrayRecord}      reply: {"reply": JSON, "<group>": one ArrayRecord each}
"""

from collections.abc import Mapping

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

from fedward_core.arrays import Array as NumpyArray
from fedward_core.arrays import Arrays
from fedward_core.order import Order, Reply


def read_order(message: Message) -> tuple[Order, dict[str, NumpyArray]]:
    """The order and the weights that came with it, in memory of their own."""
    content = message.content
    order = Order.model_validate_json(str(content.config_records["order"]["json"]))
    records = content.array_records
    arrays = {name: array.numpy() for name, array in records["arrays"].items()} if "arrays" in records else {}
    return order, arrays


def write_reply(message: Message, reply: Reply, groups: Mapping[str, Arrays]) -> Message:
    """The answer to a message; arrays are copied into it."""
    content = RecordDict({"reply": ConfigRecord({"json": reply.model_dump_json()})})
    for group, arrays in groups.items():
        content[f"group.{group}"] = ArrayRecord({name: Array(ndarray=array) for name, array in arrays.items()})
    return Message(content=content, reply_to=message)
