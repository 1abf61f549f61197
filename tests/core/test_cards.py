"""Cards: one contract for a study, or a refusal that names who differs."""

import json
from pathlib import Path
from typing import Any

import pytest

from fedward_core.cards import CARDS, Contract, DataKind, DatasetCard, Split, Task, agreed_contract, read_cards
from fedward_core.errors import CheckpointError, DataError

CONTRACT = Contract(classes=("normal", "covid"))


def card(site: str, **changes: Any) -> DatasetCard:
    return DatasetCard(
        site=site,
        dataset="chest-xray",
        contract=CONTRACT.model_copy(update=changes),
        num_images={Split.TRAIN: 5},
        num_patients={Split.TRAIN: 4},
        class_counts={Split.TRAIN: (3, 2)},
        digest="0" * 64,
    )


def test_alike_sites_agree() -> None:
    assert agreed_contract((card("north"), card("south"), card("west"))) == CONTRACT


@pytest.mark.parametrize(
    "change",
    [
        {"task": Task.MULTI_LABEL},
        {"classes": ("covid", "normal")},
        {"channels": 3},
        {"value_range": (0.0, 255.0)},
        {"spacing_mm": (3.0, 1.0, 1.0)},
        {"kind": DataKind.VOLUME},
        {"depth": 16},
    ],
)
def test_sites_that_differ_are_named_with_what_differs(change: dict[str, Any]) -> None:
    (key,) = change
    with pytest.raises(DataError, match=f"sites 'north' and 'west' do not fit one study: {key} is"):
        agreed_contract((card("north"), card("south"), card("west", **change)))


def test_voxels_that_differ_by_their_rounding_alone_are_alike() -> None:
    """0.625 mm, as one file says it and as the affine of another comes to it."""
    first, second = ((3.0, round(length, 2), 1.0) for length in (0.625, 0.62500003))
    assert first != second
    assert agreed_contract((card("north", spacing_mm=first), card("west", spacing_mm=second))).spacing_mm == first
    with pytest.raises(DataError, match=r"Set dataset\.spacing_mm, so that all are resampled"):
        agreed_contract((card("north", spacing_mm=first), card("west", spacing_mm=(3.0, 0.64, 1.0))))


def test_every_part_of_the_contract_is_compared() -> None:
    compared = {"kind", "task", "classes", "depth", "channels", "value_range", "spacing_mm"}
    assert set(Contract.model_fields) == compared


def test_no_site_at_all_is_an_error() -> None:
    with pytest.raises(DataError, match="no site has this dataset"):
        agreed_contract(())


def test_a_card_survives_json() -> None:
    assert DatasetCard.model_validate_json(card("north").model_dump_json()) == card("north")


def test_cards_of_a_run_are_read_from_its_folder(tmp_path: Path) -> None:
    cards = (card("north"), card("south"))
    (tmp_path / CARDS).write_text(json.dumps([one.model_dump(mode="json") for one in cards]))
    assert read_cards(tmp_path) == cards


@pytest.mark.parametrize("content", ["", "[", "7", "[{}]", "[7]"])
def test_cards_that_are_none_are_damaged(content: str, tmp_path: Path) -> None:
    (tmp_path / CARDS).write_text(content)
    with pytest.raises(CheckpointError, match=r"cards\.json of .* is damaged"):
        read_cards(tmp_path)


def test_a_folder_without_cards_is_no_whole_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no cards\.json: expected the folder of a whole run"):
        read_cards(tmp_path)
