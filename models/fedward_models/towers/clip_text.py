"""The text side of a published CLIP, used once: the embeddings of class names.

Letters: K classes, L tokens of a text, E features.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from fedward_core.arrays import Arrays
from fedward_core.errors import CheckpointError, SpecError

TEMPLATE = "this is a photo of a {}"
"""That of EVP's released code: lower case, without a full stop, for every dataset."""
_HEAD_WIDTH = 64  # of every text tower of OpenAI
_NEEDED = ("token_embedding.weight", "positional_embedding", "text_projection", "ln_final.weight")


def class_texts(names: Sequence[str], *, template: str = TEMPLATE) -> tuple[str, ...]:
    """What is said of each class: lower case, with spaces for ``_`` and ``-``, in the template."""
    return tuple(template.replace("{}", name.lower().replace("_", " ").replace("-", " ")) for name in names)


def class_embeddings(
    arrays: Arrays, names: Sequence[str], *, template: str = TEMPLATE, activation: str = "quick_gelu"
) -> Tensor:
    """Embed class names.

    Args:
        arrays: A published CLIP.
        names: The classes.
        template: With ``{}`` for the name.
        activation: That of the towers.

    Returns:
        (K, E), not normalised to length 1.

    Raises:
        CheckpointError: The file has no text tower of CLIP.
        SpecError: A class's text is longer than the tower reads.
    """
    _check_text_tower(arrays)
    return embed_tokens(arrays, _tokens(class_texts(names, template=template), arrays), activation=activation)


@torch.no_grad()
def embed_tokens(
    arrays: Arrays, tokens: Tensor, *, activation: str = "quick_gelu", head_width: int = _HEAD_WIDTH
) -> Tensor:
    """Embed texts that were cut into tokens: (K, L) integers, of which the highest ends a text, to (K, E).

    Args:
        arrays: A published CLIP; the tower's form is read from the shapes.
        tokens: Filled up with zeros to the tower's length.
        activation: That of the towers.
        head_width: Channels of an attention head.

    Raises:
        CheckpointError: The file has no text tower of CLIP.
    """
    from open_clip.transformer import QuickGELU, TextTransformer  # noqa: PLC0415 - seconds, and only here

    _check_text_tower(arrays)
    vocabulary, width = arrays["token_embedding.weight"].shape
    entries = {name: array for name, array in arrays.items() if not name.startswith(("visual.", "logit_"))}
    tower = TextTransformer(
        context_length=len(arrays["positional_embedding"]),
        vocab_size=vocabulary,
        width=width,
        heads=max(width // head_width, 1),
        layers=sum(name.endswith(".ln_1.weight") for name in entries),
        output_dim=arrays["text_projection"].shape[1],
        act_layer=QuickGELU if activation == "quick_gelu" else torch.nn.GELU,
    )
    try:
        tower.load_state_dict({name: torch.tensor(array).float() for name, array in entries.items() if array.ndim})
    except RuntimeError as error:
        raise CheckpointError(f"the file holds another text tower than CLIP's: {error}") from error
    embeddings: Tensor = tower.eval()(tokens)
    return embeddings


def _check_text_tower(arrays: Arrays) -> None:
    if missing := [name for name in _NEEDED if name not in arrays]:
        raise CheckpointError(
            f"the file has no text tower of CLIP: expected '{missing[0]}'. Name the weights of the whole model, as "
            "open_clip publishes it, or give the class embeddings as a file of their own"
        )


def _tokens(texts: Sequence[str], arrays: Arrays) -> Tensor:
    from open_clip.tokenizer import SimpleTokenizer  # noqa: PLC0415 - seconds, and only here

    length = len(arrays["positional_embedding"])
    tokenizer = SimpleTokenizer(context_length=length)
    longest = max(len(tokenizer.encode(text)) for text in texts) + 2  # with the marks of start and end
    if longest > length:
        raise SpecError(
            f"a class name makes a text of {longest} tokens, and the tower reads {length}: shorten the name or template"
        )
    tokens: Tensor = tokenizer(list(texts))
    return tokens
