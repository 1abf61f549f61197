"""What does DMAE's teacher cost if it stops at its last aligned block, beside one that runs to its end?

    nice python -m benchmarks.experiments.dmae_teacher

The published teacher, a ViT-L of 24 blocks at 224 pixels, of which 18 are needed, on a few images and one thread, in
turns. The released code runs all 24 and a decoder of 8 blocks, and uses neither what lies above nor the pictures.
"""

import time
from collections.abc import Callable
from functools import partial

import torch

from benchmarks.report import Spread, in_turns, machine, print_table
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.layers.masking import Mask, num_visible
from fedward_models.layers.patch_decoder import PatchDecoder
from fedward_models.methods.dmae.config import TeacherConfig
from fedward_models.methods.dmae.dmae import three_quarters
from fedward_models.methods.dmae.teacher import Teacher

IMAGES, REPEATS = 2, 5
VIT_L = TeacherConfig(width=1024, depth=24, heads=16)
RATIOS = (0.75, 0.95, 0.98)


def main() -> None:
    """Measure every ratio and print the table."""
    torch.set_num_threads(1)
    print(machine(), flush=True)
    student = ViTConfig(width=64, depth=1, heads=1, patch_px=16).build(image_px=224, channels=3)
    early, whole = (
        Teacher(VIT_L, taps=(tap,), student=student, channels=3)
        for tap in (three_quarters(VIT_L.depth), VIT_L.depth - 1)
    )
    decoder = PatchDecoder(encoder_width=1024, width=512, depth=8, heads=16, side=14, num_values=768)
    rows = [row(ratio, early, whole, decoder) for ratio in RATIOS]
    sizes = [sum(p.numel() for p in teacher.parameters()) / 1e6 for teacher in (early, whole)]
    columns = ("mask ratio", "visible", "18 blocks, s", "24 blocks, s", "ratio", "24 and decoder, s", "ratio")
    note = (
        f"{IMAGES} images, {REPEATS} repeats in turns, processor time; {sizes[0]:.1f} and {sizes[1]:.1f} M parameters."
    )
    print_table("A teacher that stops early", columns, rows, note)


@torch.no_grad()
def row(ratio: float, early: Teacher, whole: Teacher, decoder: PatchDecoder) -> tuple[object, ...]:
    """One line of the table."""
    visible, images = num_visible(196, mask_ratio=ratio), torch.randn(IMAGES, 3, 224, 224)
    mask = Mask.of(torch.rand(IMAGES, 196), num_visible=visible)
    (tokens,) = whole(images, mask)
    works = {
        "early": partial(early, images, mask),
        "whole": partial(whole, images, mask),
        "decoder": partial(decoder, tokens, mask),
    }
    cases = {name: partial(seconds, work) for name, work in works.items()}
    in_turns(cases, 1)  # warms up
    seen = in_turns(cases, REPEATS)
    stopped, run = seen["early"], seen["whole"]
    released = Spread(tuple(a + b for a, b in zip(run.values, seen["decoder"].values, strict=True)))
    return ratio, visible, stopped, run, stopped.over(run), released, stopped.over(released)


def seconds(work: Callable[[], object]) -> float:
    """Processor time."""
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    main()
