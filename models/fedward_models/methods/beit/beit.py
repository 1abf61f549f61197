"""Masked prediction of visual tokens: blocks of patches are hidden, and the network names the tokens they stood for.

Papers: H. Bao, L. Dong, S. Piao, F. Wei, "BEiT: BERT Pre-Training of Image Transformers", ICLR 2022,
https://arxiv.org/abs/2106.08254; federated as in R. Yan, L. Qu, Q. Wei et al., "Label-Efficient Self-Supervised
Federated Learning for Tackling Data Heterogeneity in Medical Imaging" (SSL-FL), IEEE TMI 2023,
https://arxiv.org/abs/2205.08576.

Faithful to SSL-FL (rui-yan/SSL-FL, commit 69c3388, code/fed_beit/modeling_pretrain.py): blocks are hidden, as many as
fit, so that images hide different numbers of patches; hidden patches are replaced by one learned token, and all tokens
go through all blocks; the head reads hidden places only; blocks share one table of relative positions; encoder, mask
token and head are averaged.
Differs: rates follow the step, where the published loop reads them by parameter group and so trains no bias and no norm
(the schedule ``cosine_table``).

Letters: B batch, C channel, H height, W width, N patches, M hidden patches of the batch, E embedding, V vocabulary.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from fedward_core.cards import Contract
from fedward_core.errors import SpecError
from fedward_models.backbones.backbone import Backbone
from fedward_models.backbones.beit_vit.beit_vit import BEiTViT
from fedward_models.batch import Batch
from fedward_models.data.batches.views import with_view
from fedward_models.inheritance import Inheritance, take_over
from fedward_models.layers.block_masking import hide_blocks, mask_budget
from fedward_models.layers.relative_transformer import initialise_truncated, truncated_normal
from fedward_models.layers.transformer import layer_norm
from fedward_models.losses.masked_tokens import masked_token_losses, mean_of_each_image
from fedward_models.method import Method
from fedward_models.methods.beit.config import BEiTConfig
from fedward_models.step import Clock, StepOutput
from fedward_models.tokenizers.tokenizer import Tokenizer


class BEiT(Method):
    """Masked prediction of visual tokens.

    Attributes:
        config: Its settings.
        budget: The most patches that an image hides.
        tokenizer: Frozen; it has no entry in the state.

    Raises:
        SpecError: The backbone is not BEiT's, or the ratio hides no patch or all.
        CheckpointError: The tokenizer's weights are not those that the settings name.
    """

    backbone: BEiTViT
    spares_backbone = True  # SSL-FL, Sec. 5.1; the mask token decays

    def __init__(self, config: BEiTConfig, *, backbone: Backbone, contract: Contract) -> None:
        super().__init__()
        if not isinstance(backbone, BEiTViT):
            raise SpecError(
                "beit shares one table of relative positions between blocks: choose the backbone 'beit_vit'"
            )
        backbone.become_encoder(drop_path=config.drop_path)
        self.config, self.backbone = config, backbone
        self.budget = _checked_budget(config, backbone.num_patches)
        self.tokenizer: Tokenizer = config.tokenizer.build(side=backbone.side, channels=contract.channels)
        self.mask_token = nn.Parameter(torch.empty(1, 1, backbone.num_features))
        self.norm = layer_norm(backbone.num_features)
        self.token_head = nn.Linear(backbone.num_features, self.tokenizer.vocabulary)
        self.token_head.apply(initialise_truncated)
        truncated_normal(self.mask_token)

    def prepare(self, batch: Batch, rng: torch.Generator) -> Batch:
        """Draw a view of each image, if the settings say so, and then what is hidden of it."""
        return self.hide(with_view(batch, self.config.view, rng), rng)

    def hide(self, batch: Batch, rng: torch.Generator) -> Batch:
        """Draw ``hidden``, (B, N) booleans, for each image by itself."""
        # torch draws single numbers as tensors only; numpy is many times as fast at them.
        draw = np.random.default_rng(int(torch.randint(2**62, (), generator=rng)))
        masks = [hide_blocks(self.backbone.side, budget=self.budget, rng=draw) for _ in range(len(batch))]
        hidden = torch.from_numpy(np.stack(masks)).flatten(1).to(batch.images.device)
        return replace(batch, drawn={**batch.drawn, "hidden": hidden})

    def training_step(self, batch: Batch, clock: Clock) -> StepOutput:  # noqa: ARG002 - the signature of the family
        """The mean over all hidden patches of the batch (SSL-FL, Sec. 3), with the part that was named right."""
        hidden, tokens = batch.drawn["hidden"], self.tokenizer(batch)
        logits = self.hidden_logits(batch.images, hidden)
        count = max(len(logits), 1)
        right = (logits.detach().argmax(dim=1) == tokens[hidden]).sum() / count
        loss = masked_token_losses(logits, tokens, hidden).sum() / count
        return StepOutput(loss=loss, figures={"token_accuracy": right})

    def evaluation_loss(self, batch: Batch) -> Tensor:
        """The mean over each image's own hidden patches, (B,)."""
        hidden = batch.drawn["hidden"]
        losses = masked_token_losses(self.hidden_logits(batch.images, hidden), self.tokenizer(batch), hidden)
        return mean_of_each_image(losses, hidden)

    def predict_batch(self, batch: Batch) -> Tensor:
        """The loss of each image, (B,), under masks that are the same at every call."""
        return self.evaluation_loss(self.hide(batch, torch.Generator().manual_seed(0)))

    def encode(self, images: Tensor, hidden: Tensor) -> Tensor:
        """Normed tokens of whole images with hidden patches replaced, class token first: (B, 1+N, E)."""
        tokens = self.backbone.embed(images)
        tokens = torch.where(hidden.unsqueeze(-1), self.mask_token.to(tokens.dtype), tokens)
        encoded: Tensor = self.norm(self.backbone.encode(tokens))
        return encoded

    def hidden_logits(self, images: Tensor, hidden: Tensor) -> Tensor:
        """(M, V) logits of the hidden patches alone, image by image."""
        logits: Tensor = self.token_head(self.encode(images, hidden)[:, 1:][hidden])
        return logits

    @property
    def notes(self) -> tuple[str, ...]:
        """Which tokenizer."""
        return (self.tokenizer.note,)

    @property
    def origins(self) -> tuple[str, ...]:
        """The tokenizer: each site makes or reads its own, and the head learns what its tokens mean."""
        return self.notes

    def inherit(self, state: Mapping[str, Tensor], source: Method) -> Inheritance:
        """Take everything over from another stage of beit with the same tokenizer.

        Raises:
            SpecError: The previous stage is none, or has another tokenizer.
            CheckpointError: An entry is missing or has another shape.
        """
        if not isinstance(source, BEiT) or source.tokenizer.note != self.tokenizer.note:
            raise SpecError(
                f"beit can only go on from a stage of beit with the same tokenizer, found {type(source).__name__}: use "
                "start_from: scratch, or make the stages alike"
            )
        taken = take_over(self, state, self.state_dict())
        return Inheritance.of(self, state, taken=taken)


def _checked_budget(config: BEiTConfig, num_patches: int) -> int:
    budget = mask_budget(num_patches, mask_ratio=config.mask_ratio)
    if not 0 < budget < num_patches:
        raise SpecError(
            f"mask_ratio {config.mask_ratio} hides {budget} of {num_patches} patches: expected some hidden and some "
            "visible. Choose another mask_ratio, or a smaller patch_px"
        )
    return budget
