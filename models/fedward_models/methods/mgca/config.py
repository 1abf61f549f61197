"""The settings of MGCA."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from fedward_core.cards import DataNeed
from fedward_core.spec import MethodConfig
from fedward_models.data.batches.view_settings import ViewSettings
from fedward_models.frozen import FrozenWeights
from fedward_models.towers.config import TextTowerConfig


class MGCAConfig(MethodConfig):
    """Multi-granularity cross-modal alignment (Wang et al., NeurIPS 2022).

    MGCA projects to 128 features through 2048 hidden units and has 500 prototypes, beside a ViT-B and 6 layers of
    Bio_ClinicalBERT; smaller defaults are decided here, as those of the backbone are.

    Attributes:
        text: The text tower.
        image_weights: What the image tower starts from, in a file that every site holds; it is trained on. DeiT-B/16 or
            ResNet-50 of ImageNet in MGCA; null to start at random.
        freeze_text: Keep the text tower as it starts; it then never travels.
        hidden: Hidden units of the four projections. 2048 in MGCA.
        width: D, what is compared. 128 in MGCA.
        prototypes: K. 500 in MGCA, the best of its ablation.
        pair_weight: Of the instance-wise loss; 1, as the released command line runs.
        token_weight: Of the token-wise loss; 1 likewise, 0.7 in the class's own signature.
        prototype_weight: Of the prototype-level loss; 1 likewise, 0.5 in the class's own signature.
        pair_temperature: 0.07 in MGCA.
        token_temperature: 0.1 in MGCA.
        prototype_temperature: 0.2 in MGCA.
        epsilon: How soft balanced assignments are; 0.05 in MGCA, up to 0.1 where sites differ much in their patients.
        balancing_rounds: 3 in MGCA; fewer where sites differ much.
        freeze_prototypes_epochs: Epochs in which prototypes stay as they start; 1 in MGCA.
        bidirectional: Whether places seek their words too; on in MGCA.
        norm_contexts: Whether contexts of places have length 1; null for what MGCA does: not for vision transformers.
        legacy_padding: Let padding of reports take part in norms and losses, as in the released code.
        prompts: A text for each class, by which images without a report are classified; null for the classes' names.
        report_part: What of a report is read: ``all``, or ``impression_findings``, the text beneath these headings, as
            in MGCA. A report without either is then left out like one that says nothing.
        view: How a random view of each image is drawn; null to take images as they come. No mirroring: reports speak of
            left and right.
    """

    implementation: ClassVar[str] = "fedward_models.methods.mgca.mgca:MGCA"
    need: ClassVar[DataNeed] = DataNeed.IMAGE_REPORT
    needs_labels: ClassVar[bool] = False
    takes_mirrored: ClassVar[bool] = False

    name: Literal["mgca"] = "mgca"
    text: TextTowerConfig = TextTowerConfig()
    freeze_text: bool = False
    hidden: int = Field(default=256, ge=1)
    width: int = Field(default=64, ge=2)
    prototypes: int = Field(default=100, ge=2)
    pair_weight: float = Field(default=1.0, ge=0)
    token_weight: float = Field(default=1.0, ge=0)
    prototype_weight: float = Field(default=1.0, ge=0)
    pair_temperature: float = Field(default=0.07, gt=0)
    token_temperature: float = Field(default=0.1, gt=0)
    prototype_temperature: float = Field(default=0.2, gt=0)
    epsilon: float = Field(default=0.05, gt=0)
    balancing_rounds: int = Field(default=3, ge=1)
    freeze_prototypes_epochs: int = Field(default=1, ge=0)
    bidirectional: bool = True
    norm_contexts: bool | None = None
    legacy_padding: bool = False
    prompts: tuple[str, ...] | None = None
    view: ViewSettings | None = None
    # Left out of the text where they are not set, so that specs from before them keep their digests.
    image_weights: FrozenWeights | None = Field(default=None, exclude_if=lambda value: value is None)
    report_part: Literal["all", "impression_findings"] = Field(default="all", exclude_if=lambda value: value == "all")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.pair_weight == self.token_weight == self.prototype_weight == 0:
            raise ValueError("all three weights are 0, so nothing would be learned: raise one of them")
        if self.view and self.view.flip:
            raise ValueError("view.flip mirrors images, and reports speak of left and right: set flip to 0")
        if self.freeze_text and self.text.weights is None:
            raise ValueError("freeze_text keeps a text tower that knows nothing: name its 'weights', or train it")
        return self
