"""A site offers volumes, clips and reports as it offers images: without a card no run would ever ask for them."""

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from fedward_client.agent import card_process
from fedward_client.agent.errors import PolicyError
from fedward_client.agent.policy import read_policy
from fedward_core.cards import DataKind, DatasetCard
from fedward_models.data import generate


def cards_of(folder: Path, path: Path, **offer: str) -> list[DatasetCard]:
    """What an agent would tell of one dataset, the site's policy being read from its file."""
    values = {"path": str(path), **offer}
    (folder / "site.yaml").write_text(json.dumps({"datasets": {"ward": values}}))
    (dataset,) = (offer.described_as(name) for name, offer in read_policy(folder / "site.yaml").datasets.items())
    (catalogue := folder / "catalogue" / "ward").mkdir(parents=True)
    (catalogue / f"north{path.suffix}").symlink_to(path)
    request = {"site": "north", "data": str(folder / "catalogue"), "datasets": [dataset.model_dump(mode="json")]}
    (folder / "request.json").write_text(json.dumps(request))
    card_process.main(folder)
    return [DatasetCard.model_validate(card) for card in json.loads((folder / "cards.json").read_text())]


@pytest.mark.parametrize("kind", DataKind)
def test_every_kind_of_data_has_a_card(tmp_path: Path, kind: DataKind) -> None:
    length = 8 if kind in {DataKind.VOLUME, DataKind.CLIP} else None
    generate(tmp_path / "data", sites=1, images_per_site=20, image_px=16, kind=kind, depth=length)
    (path,) = (tmp_path / "data").glob("*.npz")
    (card,) = cards_of(tmp_path, path, kind=kind)
    assert card.contract.kind is kind
    assert sum(card.num_images.values()) == 20


def test_volumes_of_voxels_of_several_sizes_have_a_card_without_a_size(tmp_path: Path) -> None:
    (folder := tmp_path / "data").mkdir()
    for number, spacing in enumerate((1.0, 1.0, 2.0)):
        values = np.random.default_rng(number).random((6, 6, 6)).astype(np.float32)
        image: Any = nibabel.Nifti1Image
        nibabel.save(image(values, np.diag([spacing, 1.0, 1.0, 1.0])), folder / f"{number}.nii.gz")
    (folder / "labels.csv").write_text("file,label,split\n0.nii.gz,a,train\n1.nii.gz,b,train\n2.nii.gz,a,test\n")
    (card,) = cards_of(tmp_path, folder, kind="volume")
    assert sum(card.num_images.values()) == 3
    assert card.contract.spacing_mm is None


def test_masks_of_clips_are_refused_where_the_policy_is_read(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="task 'segmentation' is for images and volumes, found kind 'clip'"):
        cards_of(tmp_path, tmp_path / "data", kind="clip", task="segmentation")
