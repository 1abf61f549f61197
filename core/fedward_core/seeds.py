"""Randomness that is derived, never carried along.

Every draw depends on (run seed, site, stage, round, epoch, step) alone, so that a resumed run, another engine or
another number of workers draws the same numbers.
"""

import hashlib

import numpy as np


def derive_seed(seed: int, *parts: str | int) -> int:
    """A 63-bit seed that depends on every part and on their order.

    Args:
        seed: The seed of the run.
        parts: What the draw belongs to, outermost first, e.g. ``("north", "pretrain", 3, "shuffle")``.

    Returns:
        A seed in ``[0, 2**63)``, which numpy and torch both take.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in (seed, *parts))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(seed: int, *parts: str | int) -> np.random.Generator:
    """A numpy generator on the derived seed."""
    return np.random.default_rng(derive_seed(seed, *parts))
