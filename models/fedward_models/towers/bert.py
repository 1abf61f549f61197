"""The text tower: BERT, from scratch or from a local checkpoint.

Paper: J. Devlin, M.-W. Chang, K. Lee, K. Toutanova, "BERT: Pre-training of Deep Bidirectional Transformers for
Language Understanding", NAACL 2019, https://arxiv.org/abs/1810.04805. The network is that of the transformers library,
built from its configuration alone: nothing is fetched.

Differs: there is no pooler and no table of token types, as in MGCA; of a checkpoint that has one, the row that every
token of a single text gets is added to the positions, where MGCA drops it.

Letters: B batch, T tokens, L word slots, E features.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from fedward_core.errors import CheckpointError
from fedward_models.frozen import FrozenWeights, read_frozen
from fedward_models.towers.config import TextTowerConfig
from fedward_models.towers.vocabulary import built_in_vocabulary, read_vocabulary
from fedward_models.towers.word_pieces import WordPieces
from fedward_models.towers.words import Words, join_pieces

_POSITIONS, _TYPES = "embeddings.position_embeddings.weight", "embeddings.token_type_embeddings.weight"
_LONGEST = 512  # BERT's table of positions, whatever part of it is used


class TextTower(nn.Module):
    """Reports to features of words and of the whole text.

    Attributes:
        config: Its settings.
        num_features: E.
        pieces: Cuts words into pieces.
        network: BERT.

    Raises:
        CheckpointError: The vocabulary or the weights are missing, others than named, or of another form.
    """

    def __init__(self, config: TextTowerConfig) -> None:
        super().__init__()
        self.config, self.num_features = config, config.width
        vocabulary = read_vocabulary(config.vocabulary) if config.vocabulary else built_in_vocabulary()
        self.pieces = WordPieces(vocabulary, max_tokens=config.max_tokens)
        self.network = text_network(config, vocabulary_size=len(vocabulary))
        if config.weights:
            _load(self.network, config.weights)

    def forward(self, numbers: Tensor, word_of: Tensor) -> Words:
        """Features of texts.

        Args:
            numbers: (B, T), numbers of pieces.
            word_of: (B, T), the word of each piece; -1 for padding.
        """
        positions = torch.zeros_like(numbers) if self.config.legacy_positions else None
        known = word_of >= 0
        output = self.network(
            input_ids=numbers, attention_mask=known.long(), position_ids=positions, output_hidden_states=True
        )
        last = self.network.get_submodule(f"encoder.layer.{self.config.depth - 1}.attention.self")
        attention = first_attention(last, output.hidden_states[-2], known)
        return join_pieces(output.last_hidden_state, attention, word_of, legacy=self.config.legacy_words)


@torch.no_grad()
def first_attention(layer: Any, states: Tensor, known: Tensor) -> Tensor:
    """What the first piece attends to, the mean over heads.

    As in: HKU-MedAI/MGCA, commit 680fe4a, med.py, before any dropout; the library gives it with entries dropped, and so
    a part of the words would weigh nothing in training.

    Args:
        layer: A layer's own attention, as the library names it.
        states: (B, T, E), what enters it.
        known: (B, T) bool, what is no padding.

    Returns:
        (B, T); rows sum to 1, 0 in padding.
    """
    heads = layer.num_attention_heads
    query = layer.query(states[:, 0]).unflatten(-1, (heads, -1))
    keys = layer.key(states).unflatten(-1, (heads, -1))
    scores = torch.einsum("bhd,bthd->bht", query, keys) * layer.attention_head_size**-0.5
    weights: Tensor = scores.masked_fill(~known[:, None], -torch.inf).softmax(dim=-1)
    return weights.mean(dim=1)


class _NoTypes(nn.Module):
    """In place of a table of token types: adds nothing."""

    def forward(self, types: Tensor) -> Tensor:
        return torch.zeros((), device=types.device)


def text_network(config: TextTowerConfig, *, vocabulary_size: int) -> BertModel:
    """BERT without pooler and token types, at random.

    Args:
        config: Its form.
        vocabulary_size: Word pieces.
    """
    settings = BertConfig(
        vocab_size=vocabulary_size,
        hidden_size=config.width,
        num_hidden_layers=config.depth,
        num_attention_heads=config.heads,
        intermediate_size=int(config.width * config.mlp_ratio),
        hidden_dropout_prob=config.dropout,
        attention_probs_dropout_prob=config.dropout,
        max_position_embeddings=_LONGEST,
    )
    network = BertModel(settings, add_pooling_layer=False)
    # One implementation on every machine, whichever the library would choose.
    network.set_attn_implementation("eager")
    network.embeddings.add_module("token_type_embeddings", _NoTypes())
    return network


def _load(network: BertModel, weights: FrozenWeights) -> None:
    """Fill the network from a checkpoint, whose further layers, pooler and heads are left out."""
    arrays = {_our_name(name): torch.from_numpy(array) for name, array in read_frozen(weights).items()}
    if _TYPES in arrays and _POSITIONS in arrays:
        arrays[_POSITIONS] = arrays[_POSITIONS] + arrays[_TYPES][0]
    network.load_state_dict(_checked(arrays, network.state_dict(), weights.name))


def _our_name(name: str) -> str:
    """Models with heads have the tower in ``bert``; norms of checkpoints from TensorFlow have gamma and beta."""
    name = name.removeprefix("bert.")
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _checked(arrays: Mapping[str, Tensor], own: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    for key, tensor in own.items():
        found = arrays[key].shape if key in arrays else None
        if found != tensor.shape:
            raise CheckpointError(
                f"the frozen weights '{name}' are not of this text tower: expected '{key}' of shape "
                f"{tuple(tensor.shape)}, found {'nothing' if found is None else tuple(found)}. Give the checkpoint's "
                "width, heads and vocabulary in 'text', or name another file"
            )
    return {key: arrays[key].to(tensor.dtype) for key, tensor in own.items()}
