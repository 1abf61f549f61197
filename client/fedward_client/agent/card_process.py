"""Makes the cards of a site's datasets: ``python -m fedward_client.agent.card_process FOLDER``.

FOLDER/request.json  -->  FOLDER/cards.json; what cannot be used is told on standard error, and left out
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fedward_core.cards import DataKind, DatasetCard
from fedward_core.errors import DataError
from fedward_core.spec import Dataset
from fedward_models.data import describe

_ANY_SPACING_MM = (1.0, 1.0, 1.0)


def main(folder: Path) -> None:
    """Read the request, and write a card for each dataset that can be used."""
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    cards = [card.model_dump(mode="json") for card in _cards(request)]
    (folder / "cards.json").write_text(json.dumps(cards), encoding="utf-8")


def _cards(request: dict[str, Any]) -> Iterator[DatasetCard]:
    for values in request["datasets"]:
        dataset = Dataset.model_validate(values)
        try:
            yield _card(Path(request["data"]) / dataset.name, request["site"], dataset)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not hide the other datasets
            sys.stderr.write(f"dataset '{dataset.name}' cannot be used: {error}\n")


def _card(data: Path, site: str, dataset: Dataset) -> DatasetCard:
    """The card; of volumes whose voxels differ in size, which a study has to resample, without a size."""
    try:
        return describe(data, site, dataset)
    except DataError:
        if dataset.kind is not DataKind.VOLUME:
            raise
        card = describe(data, site, dataset.model_copy(update={"spacing_mm": _ANY_SPACING_MM}))
        return card.model_copy(update={"contract": card.contract.model_copy(update={"spacing_mm": None})})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
