"""MGCA: an image encoder that learns from reports, by alignment at three scales.

    image   -> backbone  -> whole, places -> projections --.  pairs       which report belongs to which image
                                                           |- tokens      which word belongs to which place
    report  -> text tower -> whole, words -> projections --'  prototypes  both choose the same of K diseases

Paper: F. Wang, Y. Zhou, S. Wang, V. Vardhanabhuti, L. Yu, "Multi-Granularity Cross-modal Alignment for Generalized
Medical Visual Representation Learning", NeurIPS 2022, https://arxiv.org/abs/2210.06044.

Faithful to the released code (HKU-MedAI/MGCA, commit 680fe4a): class token and patch tokens after the last norm, pieces
summed into words, weights of tokens from attention, the three losses with their temperatures and weight 1 each, and
prototypes of length 1 that rest in the first epoch.
Differs: tokens know their positions, words have their own attention and padding takes no part, which three ``legacy``
settings undo; prototypes of length 1 also after averaging; statistics of the projections' norms stay at the site;
federated, negatives are those of the site's own batch, so that no report nor feature leaves it.

Letters: B batch, C channel, H height, W width, T tokens, N places, L words, D what is compared, K prototypes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedward_core.cards import Contract, DataNeed, Task
from fedward_core.errors import DataError, SpecError
from fedward_core.metric import CUT_REPORTS
from fedward_core.partition import Role, Rule
from fedward_models.backbones.backbone import Backbone
from fedward_models.batch import Batch
from fedward_models.data.batches.views import with_view
from fedward_models.frozen import read_frozen
from fedward_models.inheritance import Inheritance, take_over
from fedward_models.layers.frozen_module import FrozenModule, network_of
from fedward_models.losses.pair_contrast import retrieval
from fedward_models.losses.token_alignment import token_weights
from fedward_models.method import Method
from fedward_models.methods.mgca.alignment import Pairs, alignment_losses, weighted_sum
from fedward_models.methods.mgca.config import MGCAConfig
from fedward_models.methods.mgca.heads import Projection
from fedward_models.methods.mgca.prompts import absent, check_prompts, class_prompts, cut_prompts
from fedward_models.methods.mgca.succession import check_same_reading
from fedward_models.step import Clock, StepOutput
from fedward_models.towers.bert import TextTower
from fedward_models.towers.image_file import load_backbone
from fedward_models.towers.places import place_features, read_places
from fedward_models.towers.report_sections import impression_and_findings
from fedward_models.towers.reports import FEWEST_WORDS, clean_report


class MGCA(Method):
    """Two towers, four projections and prototypes.

    Attributes:
        config: Its settings.
        text: The text tower, or what holds one that is frozen outside the state.
        prototypes: (K, D), of length 1 at every step.

    Raises:
        SpecError: Prompts that do not fit the classes, or that the text tower would not read, or not whole.
        CheckpointError: Weights or vocabulary of a tower are missing, others than named, or of another form.
    """

    need = DataNeed.IMAGE_REPORT

    def __init__(self, config: MGCAConfig, *, backbone: Backbone, contract: Contract) -> None:
        super().__init__()
        self.config, self.backbone, self.task = config, backbone, contract.task
        self.prompts = class_prompts(config, contract)
        if config.image_weights:
            load_backbone(backbone, read_frozen(config.image_weights), name=config.image_weights.name)
        tower = TextTower(config.text)
        check_prompts(self.prompts, tower.pieces, task=contract.task)
        self.text = FrozenModule(tower) if config.freeze_text else tower
        form = {"hidden": config.hidden, "width": config.width}
        widths = (backbone.num_features, place_features(backbone))
        self.image_head, self.place_head = (Projection(features, **form) for features in widths)
        self.report_head, self.word_head = (Projection(tower.num_features, **form) for _ in range(2))
        self.prototypes = nn.Parameter(functional.normalize(torch.randn(config.prototypes, config.width), dim=1))

    @property
    def tower(self) -> TextTower:
        """The text tower."""
        return network_of(self.text)

    def prepare(self, batch: Batch, rng: torch.Generator) -> Batch:
        """Draw a view of each image, if the settings say so, and read the reports.

        Raises:
            DataError: There are no reports.
        """
        return self.read(with_view(batch, self.config.view, rng))

    def read(self, batch: Batch) -> Batch:
        """Cut reports into pieces, and note which are too long and which say something; nothing is drawn.

        Raises:
            DataError: There are no reports.
        """
        if batch.reports is None:
            raise DataError("mgca needs the report of each image, found none: set dataset.kind to report")
        words = [clean_report(self._read_part(report)) for report in batch.reports]
        pieces = self.tower.pieces(words)
        usable = torch.tensor([len(text) >= FEWEST_WORDS for text in words])
        drawn = {"numbers": pieces.numbers, "word_of": pieces.word_of, "cut": pieces.cut, "usable": usable}
        drawn = {name: tensor.to(batch.images.device) for name, tensor in drawn.items()}
        return replace(batch, drawn={**batch.drawn, **drawn})

    def training_step(self, batch: Batch, clock: Clock) -> StepOutput:  # noqa: ARG002 - the signature of the family
        """The weighted sum of the three losses, over pairs whose report says something.

        Raises:
            DataError: Fewer than two such pairs: there is nothing to be told apart from.
        """
        usable = batch.drawn["usable"]
        if (found := int(usable.sum())) < 2:
            raise DataError(
                f"{found} of {len(batch)} reports of a batch have {FEWEST_WORDS} words or more {self._what_is_read}, "
                "expected at least 2: raise local.batch_size, or leave out images whose reports say nothing"
            )
        pairs = self.pairs(_those(batch, usable))
        losses = self.losses(pairs)
        figures = {name: loss.detach().mean() for name, loss in losses.items()}
        figures["retrieval"] = retrieval(pairs.images, pairs.reports).mean()
        figures[CUT_REPORTS] = batch.drawn["cut"].float().mean()
        figures["usable_reports"] = usable.float().mean()
        return StepOutput(loss=weighted_sum(losses, self.config).mean(), figures=figures)

    def evaluation_loss(self, batch: Batch) -> Tensor:
        """The loss of each pair of a prepared batch, (B,); it depends on what else is in the batch."""
        return weighted_sum(self.losses(self.pairs(batch)), self.config)

    def pairs(self, batch: Batch) -> Pairs:
        """Both sides of a prepared batch."""
        image = read_places(self.backbone, batch.images)
        text = self.tower(batch.drawn["numbers"], batch.drawn["word_of"])
        places = self.place_head.of_tokens(image.places)
        uniform = places.new_full(places.shape[:2], 1 / places.shape[1])
        norm_contexts = self.config.norm_contexts
        return Pairs(
            images=self.image_head(image.image),
            reports=self.report_head(text.report),
            places=places,
            words=self.word_head.of_tokens(text.words, None if self.config.legacy_padding else text.padding),
            place_weights=uniform if image.importance is None else token_weights(image.importance),
            word_weights=token_weights(text.importance),
            padding=text.padding,
            norm_contexts=image.importance is None if norm_contexts is None else norm_contexts,
        )

    def losses(self, pairs: Pairs) -> dict[str, Tensor]:
        """The three losses of each pair, (B,) each, before their weights."""
        return alignment_losses(pairs, self.prototypes, self.config)

    def predict(self, images: Tensor) -> Tensor:
        """Zero-shot: (B, K) probabilities from similarities with the classes' prompts.

        They sum to 1 over classes, except for multi-label, where each class is weighed against its absence.
        """
        embedded = self.image_head(read_places(self.backbone, images).image)
        similarity: Tensor = embedded @ self._embedded(self.prompts).T / self.config.pair_temperature
        if self.task is not Task.MULTI_LABEL:
            return similarity.softmax(dim=1)
        against: Tensor = embedded @ self._embedded(absent(self.prompts)).T / self.config.pair_temperature
        return (similarity - against).sigmoid()

    def predict_batch(self, batch: Batch) -> Tensor:
        """Zero-shot probabilities where images have classes; (B,) losses of pairs, whole, where they have none."""
        if batch.labels is not None and self.task is not Task.SEGMENTATION:
            return self.predict(batch.images)
        return self.evaluation_loss(self.read(batch))

    def rules(self) -> tuple[Rule, ...]:
        """All but the statistics of the projections' norms, which are each site's own."""
        own = Rule(pattern=r"\w+_head\..*\.(running_mean|running_var|num_batches_tracked)", role=Role.PRIVATE)
        return (own, *super().rules())

    @property
    def notes(self) -> tuple[str, ...]:
        """Which weights the towers start from."""
        towers = (("text tower", self.config.text.weights), ("image tower", self.config.image_weights))
        return tuple(weights.note(tower) for tower, weights in towers if weights)

    @torch.no_grad()
    def before_step(self, clock: Clock) -> None:  # noqa: ARG002 - the signature of the family
        """Bring prototypes back to length 1, after a step or after averaging."""
        self.prototypes.copy_(functional.normalize(self.prototypes, dim=1))

    def after_backward(self, clock: Clock) -> None:
        """Keep prototypes as they are in the first epochs."""
        if clock.round * clock.epochs + clock.epoch < self.config.freeze_prototypes_epochs:
            self.prototypes.grad = None

    def inherit(self, state: Mapping[str, Tensor], source: Method) -> Inheritance:
        """Take everything over from another MGCA stage, and the backbone from any other.

        Raises:
            CheckpointError: An entry is missing or has another shape.
            SpecError: A tower has weights of its own, which those of the stage before would replace; or that stage read
                reports in another way.
        """
        if self.config.image_weights:
            raise SpecError("image_weights have no effect on a stage that starts from the previous one: leave them out")
        if everything := isinstance(source, MGCA):
            check_same_reading(self.config, source.config)
        names = [name for name in self.state_dict() if everything or (name.startswith("backbone.") and name in state)]
        return Inheritance.of(self, state, taken=take_over(self, state, names))

    @property
    def _what_is_read(self) -> str:
        if self.config.report_part == "all":
            return "after cleaning"
        return (
            "beneath FINDINGS: or IMPRESSION:, in capitals, which is all that report_part 'impression_findings' reads"
        )

    def _read_part(self, report: str) -> str:
        return report if self.config.report_part == "all" else impression_and_findings(report)

    def _embedded(self, prompts: Sequence[str]) -> Tensor:
        """(K, D)."""
        pieces = cut_prompts(prompts, self.tower.pieces)
        device = self.prototypes.device
        embedded: Tensor = self.report_head(self.tower(pieces.numbers.to(device), pieces.word_of.to(device)).report)
        return embedded


def _those(batch: Batch, chosen: Tensor) -> Batch:
    drawn = {name: tensor[chosen] for name, tensor in batch.drawn.items()}
    return replace(batch, images=batch.images[chosen], drawn=drawn)
