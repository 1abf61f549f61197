"""SDMP: images mixed in pairs share sources, and so are positives of their sources and of each other.

    online branch      first ---------.                    mixed_second --+----------------+
                                      | clean                             | source         | mixed
    momentum branch    second --------'                    source --------+  mixed_first --+

Paper: S. Ren, H. Wang, Z. Gao, S. He, A. Yuille, Y. Zhou, C. Xie, "A Simple Data Mixing Prior for Improving
Self-Supervised Learning", CVPR 2022, https://arxiv.org/abs/2206.07692; on MoCo v3 (X. Chen, S. Xie, K. He, ICCV 2021,
https://arxiv.org/abs/2104.02057) or DINO (M. Caron et al., ICCV 2021, https://arxiv.org/abs/2104.14294).

Faithful to the released code (OliverRensu/SDMP, commit f8ccc93, moco/): one weight for both views of an image, partner
B-1-i, targets weighted by the share of the own source and by what two mixes have in common, factors 2 tau and 1/2,
random exchange of the views, batch norms that see each view for itself, patch embedding that stays random.
Differs: keys and partners are those of the site's own batch, so that no image or key leaves a site; images truly are
mixed; the default form is the published pseudo-code's; DINO has no published code and follows the same derivation.

Letters: B batch, C channel, H height, W width, D what is compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fedward_core.cards import Contract, DataNeed
from fedward_core.errors import DataError
from fedward_core.partition import Role, Rule
from fedward_models.backbones.backbone import Backbone
from fedward_models.backbones.vit.vit import ViT
from fedward_models.batch import Batch
from fedward_models.inheritance import Inheritance, take_over
from fedward_models.layers.slow_copy import rising_momentum
from fedward_models.losses.two_targets import common_content
from fedward_models.method import Method
from fedward_models.methods.sdmp.bases import build_base
from fedward_models.methods.sdmp.branches import MomentumBranch, check_takes, features_of, prepare_backbone
from fedward_models.methods.sdmp.config import DINOConfig, SDMPConfig
from fedward_models.methods.sdmp.views import draw_all
from fedward_models.step import Clock, StepOutput


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The three losses of each image, (B,) each, before their weights.

    Attributes:
        clean: A view against the other one, in both directions with ``extra`` views.
        source: A mix against its two sources.
        mixed: A mix against the mixes of the same pair.
    """

    clean: Tensor
    source: Tensor
    mixed: Tensor


class SDMP(Method):
    """Self-supervised learning with mixed images as extra positives.

    Attributes:
        config: Its settings.
        norm: Of a vision transformer's class token.
        base: Heads and loss, of MoCo v3 or of DINO.
        momentum: The momentum branch; it stays at the site.

    Raises:
        SpecError: The backbone does not take local crops of their size.
    """

    need = DataNeed.TWO_VIEWS

    def __init__(self, config: SDMPConfig, *, backbone: Backbone, contract: Contract) -> None:
        super().__init__()
        self.config, self.backbone = config, backbone
        if isinstance(config.base, DINOConfig) and config.base.local_px:
            check_takes(backbone, size_px=config.base.local_px, channels=contract.channels)
        self.norm = prepare_backbone(backbone, freeze_patches=config.freeze_patches)
        self.base = build_base(config.base, features=backbone.num_features, transformer=isinstance(backbone, ViT))
        self.momentum = MomentumBranch(self._online())
        published = 0.5 if config.views == "swap" else 1.0
        self.source_weight, self.mixed_weight = (
            published if weight is None else weight for weight in (config.source_weight, config.mixed_weight)
        )

    def prepare(self, batch: Batch, rng: torch.Generator) -> Batch:
        """Draw views and mixes: see :func:`draw_all`."""
        return draw_all(batch, self.config, rng)

    def training_step(self, batch: Batch, clock: Clock) -> StepOutput:  # noqa: ARG002 - the signature of the family
        """The weighted sum of the three terms, which are also reported.

        Raises:
            DataError: The batch has one image, which has nothing to be told apart from.
        """
        if len(batch) < 2:
            raise DataError(
                "contrast and mixing need two images in a batch, found 1: raise local.batch_size, or leave out sites "
                "with one training image"
            )
        terms = self.terms(batch)
        parts = {"clean_loss": terms.clean, "source_loss": terms.source, "mixed_loss": terms.mixed}
        figures = {name: part.detach().mean() for name, part in parts.items()}
        return StepOutput(loss=self._total(terms).mean(), figures=figures)

    def evaluation_loss(self, batch: Batch) -> Tensor:
        """The loss of each image of a prepared batch, (B,); it depends on what else is in the batch."""
        return self._total(self.terms(batch))

    def predict_batch(self, batch: Batch) -> Tensor:
        """The loss of each image, (B,), under views and mixes that are the same at every call."""
        return self.evaluation_loss(self.prepare(batch, torch.Generator().manual_seed(0)))

    def features(self, images: Tensor) -> Tensor:
        """What the trained backbone knows of whole images, e.g. for a nearest-neighbour probe: (B, E)."""
        return features_of(self.backbone, self.norm, images)

    def terms(self, batch: Batch) -> Terms:
        """The three terms of a prepared batch; batch norms see the views in this order."""
        first, second, source, mixed_first, mixed_second, own = (
            batch.drawn[name] for name in ("first", "second", "source", "mixed_first", "mixed_second", "own")
        )
        extra = self.config.views == "extra"
        online_first, online_mixed = self._query(first), self._query(mixed_second)
        target_first = self.momentum(first)
        target_mixed, target_second = self.momentum(mixed_first), self.momentum(second)
        everything = torch.ones_like(own)
        clean = self.base.loss(online_first, target_second, everything)
        if extra:
            clean = clean + self.base.loss(self._query(second), target_first, everything)
        target_source = self.momentum(source) if extra else target_first
        self.base.observe(torch.cat([target_first, target_second]))
        if "local" in batch.drawn:
            clean = self._with_local_crops(clean, batch.drawn["local"], (target_first, target_second))
        return Terms(
            clean=clean,
            source=self.base.loss(online_mixed, target_source, own),
            mixed=self.base.loss(online_mixed, target_mixed, 1 / (1 + common_content(own))),
        )

    def rules(self) -> tuple[Rule, ...]:
        """The online branch travels; the momentum branch and DINO's centre stay at the site."""
        return (Rule(pattern=r"(momentum\.|base\.centre).*", role=Role.PRIVATE), Rule(pattern=r".*", role=Role.SHARED))

    def momentum_at(self, clock: Clock) -> float:
        """What the momentum branch keeps of itself: from the setting up to 1 over the stage, as half a cosine."""
        return rising_momentum(self.config.base.momentum, clock.position / clock.rounds)

    def join(self) -> None:
        """Begin with the received weights in the momentum branch, which has followed nobody yet."""
        self.momentum.restart(self._online())

    def before_step(self, clock: Clock) -> None:
        """Move the momentum branch, as published before it sees the batch."""
        if self.config.momentum_branch == "rebuild" and clock.epoch == clock.step == 0:
            self.momentum.restart(self._online())
        self.momentum.follow(self._online(), momentum=self.momentum_at(clock))

    def after_backward(self, clock: Clock) -> None:
        """Let DINO's prototypes stand still at first, where the settings say so."""
        self.base.after_backward(clock)

    def after_step(self, clock: Clock) -> None:  # noqa: ARG002 - the signature of the family
        """Move DINO's centre."""
        self.base.settle()

    def inherit(self, state: Mapping[str, Tensor], source: Method) -> Inheritance:
        """Take the backbone over, from a stage of ``sdmp`` all that travelled, and copy it into the momentum branch.

        Raises:
            CheckpointError: An entry is missing or has another shape.
        """
        own = tuple(name for name in self.state_dict() if name != "base.centre")
        parts = ("backbone.", "norm.", "base.") if isinstance(source, SDMP) else ("backbone.", "norm.")
        known = tuple(part for part in parts if any(name.startswith(part) for name in state))
        taken = take_over(self, state, (name for name in own if name.startswith(known)))
        self.momentum.restart(self._online())
        copies = {f"momentum.{name.removeprefix('base.')}" for name in taken}
        return Inheritance.of(self, state, taken=taken, cloned=tuple(name for name in own if name in copies))

    def _online(self) -> dict[str, nn.Module]:
        """What the momentum branch follows."""
        return {"backbone": self.backbone, "norm": self.norm, "projector": self.base.projector}

    def _query(self, images: Tensor) -> Tensor:
        """The online branch: (B, C, H, W) to (B, D)."""
        outputs: Tensor = self.base(self.features(images))
        return outputs

    def _with_local_crops(self, clean: Tensor, crops: Tensor, targets: tuple[Tensor, Tensor]) -> Tensor:
        """The mean over all pairs of a view and another one's target (DINO, Eq. 3), at the size of the clean loss.

        Args:
            clean: (B,), of one pair, or summed over two with ``extra`` views.
            crops: (L, B, C, h, h); all pass through the online branch at once.
            targets: Of both views, (B, D) each.
        """
        outputs = self._query(crops.flatten(0, 1)).view(*crops.shape[:2], -1)
        everything = torch.ones_like(clean)
        losses = [self.base.loss(output, target, everything) for output in outputs for target in targets]
        pairs = 2 if self.config.views == "extra" else 1
        return (clean + torch.stack(losses).sum(dim=0)) * pairs / (pairs + len(losses))

    def _total(self, terms: Terms) -> Tensor:
        return terms.clean + self.source_weight * terms.source + self.mixed_weight * terms.mixed
