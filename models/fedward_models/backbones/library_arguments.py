"""What a spec may hand on to a network of a library: plain values, and never a download.

There is no torch here.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, JsonValue


def _refuse_downloads(arguments: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    for key in arguments:
        if key.startswith("pretrained") or key in {"checkpoint_path", "cache_dir"}:
            raise ValueError(
                f"argument '{key}' fetches or reads weights on its own: leave it out, and name a file of each site by "
                "its digest in 'weights'"
            )
    return arguments


Arguments = Annotated[dict[str, JsonValue], AfterValidator(_refuse_downloads)]
