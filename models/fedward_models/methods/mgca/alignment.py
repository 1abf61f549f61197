"""The three losses of MGCA, of images and reports that are ready to be compared.

Letters: B batch, N places, L words, D what is compared, K prototypes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fedward_models.losses.pair_contrast import pair_contrast
from fedward_models.losses.prototype_agreement import prototype_agreement
from fedward_models.losses.token_alignment import place_alignment, word_alignment
from fedward_models.methods.mgca.config import MGCAConfig


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Images and reports, ready to be compared; all vectors have length 1.

    Attributes:
        images: (B, D).
        reports: (B, D).
        places: (B, N, D).
        words: (B, L, D); zeros in padding.
        place_weights: (B, N), which sum to 1.
        word_weights: (B, L), which sum to 1.
        padding: (B, L) bool.
        norm_contexts: Whether contexts of places get length 1.
    """

    images: Tensor
    reports: Tensor
    places: Tensor
    words: Tensor
    place_weights: Tensor
    word_weights: Tensor
    padding: Tensor
    norm_contexts: bool


def alignment_losses(pairs: Pairs, prototypes: Tensor, config: MGCAConfig) -> dict[str, Tensor]:
    """The losses of each pair, before their weights.

    Args:
        pairs: Both sides.
        prototypes: (K, D).
        config: Temperatures, and what is published.

    Returns:
        ``pair_loss``, ``token_loss`` and ``prototype_loss``, (B,) each.
    """
    return {
        "pair_loss": pair_contrast(pairs.images, pairs.reports, temperature=config.pair_temperature),
        "token_loss": _token_loss(pairs, config),
        "prototype_loss": prototype_agreement(
            _similarity(pairs.images, prototypes),
            _similarity(pairs.reports, prototypes),
            temperature=config.prototype_temperature,
            epsilon=config.epsilon,
            rounds=config.balancing_rounds,
        ),
    }


def weighted_sum(losses: Mapping[str, Tensor], config: MGCAConfig) -> Tensor:
    """The loss of each pair, (B,): the three with the weights of the settings."""
    return (
        config.pair_weight * losses["pair_loss"]
        + config.token_weight * losses["token_loss"]
        + config.prototype_weight * losses["prototype_loss"]
    )


def _token_loss(pairs: Pairs, config: MGCAConfig) -> Tensor:
    by_word = word_alignment(
        pairs.words,
        pairs.places,
        pairs.word_weights,
        pairs.padding,
        temperature=config.token_temperature,
        legacy_padding=config.legacy_padding,
    )
    if not config.bidirectional:
        return by_word
    return by_word + place_alignment(
        pairs.places,
        pairs.words,
        pairs.place_weights,
        pairs.padding,
        temperature=config.token_temperature,
        norm_contexts=pairs.norm_contexts,
    )


def _similarity(embedded: Tensor, prototypes: Tensor) -> Tensor:
    """Cosines with the prototypes, (B, K), in the 32 bits that balancing needs under mixed precision too.

    As published, no gradient goes through the prototypes' lengths.
    """
    lengths = torch.linalg.vector_norm(prototypes.detach(), dim=1, keepdim=True)
    with torch.autocast(embedded.device.type, enabled=False):
        similarity: Tensor = embedded.float() @ (prototypes / lengths).T
    return similarity
