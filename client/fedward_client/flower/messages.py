"""Between Flower's messages and ours, at the site.

message: {"order": JSON, "arrays": packed}      reply: {"reply": JSON, "group.<name>": packed, for each group}

Packed arrays are one Flower array: each costs several journeys, whatever its size.
"""

from collections.abc import Mapping

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

from fedward_core.arrays import Array as NumpyArray
from fedward_core.arrays import Arrays
from fedward_core.order import Order, Reply
from fedward_core.packed_arrays import pack, unpack

PACKED = "packed"


def read_order(message: Message) -> tuple[Order, dict[str, NumpyArray]]:
    """The order and the weights that came with it, in memory of their own."""
    content = message.content
    order = Order.model_validate_json(str(content.config_records["order"]["json"]))
    records = content.array_records
    if "arrays" not in records:
        return order, {}
    return order, {name: array.copy() for name, array in unpack(records["arrays"][PACKED].data).items()}


def write_reply(message: Message, reply: Reply, groups: Mapping[str, Arrays]) -> Message:
    """The answer to a message; arrays are copied into it."""
    content = RecordDict({"reply": ConfigRecord({"json": reply.model_dump_json()})})
    for group, arrays in groups.items():
        content[f"group.{group}"] = _packed(arrays)
    return Message(content=content, reply_to=message)


def _packed(arrays: Arrays) -> ArrayRecord:
    data = pack(arrays)
    return ArrayRecord({PACKED: Array("uint8", (len(data),), PACKED, data)})
