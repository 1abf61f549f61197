"""The settings of visual prompting."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from fedward_core.spec import MethodConfig
from fedward_models.data.batches.view_settings import ViewSettings
from fedward_models.frozen import FrozenWeights

Policy = Literal["rand", "trivial"]
TEMPLATE = "this is a photo of a {}"


class EVPConfig(MethodConfig):
    """A prompt of pixels around the shrunken image (EVP, Wu et al., TMLR 2024), before a frozen network.

    The published update is plain gradient descent: take the optimiser ``sgd`` with momentum 0 and the schedule
    ``cosine_epochs``.

    Attributes:
        weights: What is frozen: the network of the ``previous`` stage, which every site then receives once; a file
            that every site holds, by its digest; or a network ``as_built`` from the run's seed, for trials only.
        head: What reads the features: the frozen ``classifier``, or the similarity with embeddings of the classes'
            ``text``, as for CLIP.
        embeddings: A file with the matrix ``embeddings`` (classes, features), and ``logit_scale``, the natural
            logarithm of what cosines are multiplied by, if that is not CLIP's 100; null to embed the class names by the
            text tower in ``weights``.
        template: What is said of a class, with ``{}`` for its name; that of EVP's released code.
        source_classes: Classes of the frozen classifier; null for as many as the study has.
        mapping: The classifier's class that stands for each of the study's, as ``fedward zoo map`` finds them; null for
            the same classes in the same order.
        image_px: The side of the shrunken image, or of what the border leaves free; null for the published 164 of 224,
            to whole pixels.
        placement: ``surround`` shrinks the image and gives its margin to the prompt (EVP); ``overlay`` adds the prompt
            to the border of the whole image (VP, Bahng et al., 2022).
        initial: How the prompt starts: ``zeros`` (EVP) or ``normal`` (VP).
        normalise_gradient: Whether the gradient is divided by its norm over the whole canvas (EVP); off in VP.
        normalisation: What the network's pixels are standardised by, after the prompt: as CLIP was, as for ImageNet, or
            as the ``site`` standardises its images; null for ``clip`` with the backbone ``clip_vit``, else ``site``.
        flip: The probability that a training image is mirrored. Published: 0.5; 0 where left and right differ.
        crop_from_px: Training images are resized to this side, and a random crop of ``image_px`` is taken; null for no
            crop, which is what the released code does with square images.
        policy: How training images are changed further: ``rand`` is RandAugment (Cubuk et al., 2020), of its authors'
            earlier scripts, ``trivial`` TrivialAugment (Müller and Hutter, ICCV 2021), which later work recommends;
            null for neither, as released.
        view: How a random view of each training image is drawn, e.g. a crop of any size; null for none, as released.
    """

    implementation: ClassVar[str] = "fedward_models.methods.evp.evp:EVP"

    name: Literal["evp"] = "evp"
    weights: FrozenWeights | Literal["previous", "as_built"] = "previous"
    head: Literal["classifier", "text"] = "classifier"
    embeddings: FrozenWeights | None = None
    template: str = Field(default=TEMPLATE, pattern=r"\{\}")
    source_classes: int | None = Field(default=None, ge=1)
    mapping: tuple[int, ...] | None = Field(default=None, min_length=1)
    image_px: int | None = Field(default=None, ge=1)
    placement: Literal["surround", "overlay"] = "surround"
    initial: Literal["zeros", "normal"] = "zeros"
    normalise_gradient: bool = True
    normalisation: Literal["site", "clip", "imagenet"] | None = None
    flip: float = Field(default=0.5, ge=0, le=1)
    crop_from_px: int | None = Field(default=None, ge=1)
    # Left out of the text where they are not set, so that specs from before them keep their digests.
    policy: Policy | None = Field(default=None, exclude_if=lambda value: value is None)
    view: ViewSettings | None = Field(default=None, exclude_if=lambda value: value is None)

    @property
    def needs_previous(self) -> bool:
        """Whether the stage before gives the network."""
        return self.weights == "previous"

    @property
    def freezes_previous(self) -> bool:
        """The network as that stage left it."""
        return self.needs_previous

    @model_validator(mode="after")
    def _check_head(self) -> Self:
        if self.head == "text":
            if self.source_classes is not None or self.mapping is not None:
                raise ValueError("source_classes and mapping have no effect with head 'text': leave them out")
            if self.embeddings is None and isinstance(self.weights, str):
                raise ValueError(
                    "head 'text' needs embeddings of the classes: name a file in 'embeddings', or one with CLIP's text "
                    "tower in 'weights'"
                )
        elif self.embeddings is not None or self.template != TEMPLATE:
            raise ValueError("embeddings and template have no effect with head 'classifier': set head: text")
        if self.embeddings is not None and self.template != TEMPLATE:
            raise ValueError("template has no effect beside a file of embeddings: leave it out")
        return self

    @model_validator(mode="after")
    def _check_mirroring(self) -> Self:
        if self.view and self.view.flip and self.flip:
            raise ValueError("view.flip and flip both mirror images: set one of them to 0")
        return self

    @model_validator(mode="after")
    def _check_mapping(self) -> Self:
        if self.mapping is None:
            return self
        if len(set(self.mapping)) < len(self.mapping) or min(self.mapping) < 0:
            raise ValueError("mapping gives a class of the classifier to each of the study's, and none to two of them")
        return self
