"""Blocks are hidden as often, and where, as the published code hides them.

Origin: rui-yan/SSL-FL, commit 69c3388d5c9d081451f4aacd5455ba3c2da2b55b, code/util/masking_generator.py, class
MaskingGenerator, on a grid of 14 x 14 with a budget of 80 and a smallest block of 16; seed 105. Run with torch 2.15 on
CPU. Beside this file: how many patches each of 2000 masks hid, and how often each patch was hidden.
Tolerance, as both sides are draws: the mean count within 0.5, the share of masks that reach the budget within 0.05,
each patch's frequency within 0.06; the budget is never exceeded.
"""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from fedward_models.layers.block_masking import hide_blocks

STORED = load_file(Path(__file__).with_name("ssl_fl_beit_masks.safetensors"))
BUDGET = 80


def test_masks_are_distributed_as_published() -> None:
    rng = np.random.default_rng(1)
    masks = np.stack([hide_blocks(14, budget=BUDGET, rng=rng) for _ in range(2000)])
    counts, published = masks.sum(axis=(1, 2)), STORED["counts"]
    assert counts.max() == published.max() == BUDGET
    assert abs(counts.mean() - published.mean()) < 0.5
    assert abs((counts == BUDGET).mean() - (published == BUDGET).mean()) < 0.05
    assert np.abs(masks.mean(axis=0) - STORED["cell_frequency"]).max() < 0.06
