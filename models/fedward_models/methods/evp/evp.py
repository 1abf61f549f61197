"""Enhanced visual prompting: a frozen network learns a new task from a border of pixels around the image.

Paper: J. Wu, X. Li, C. Wei, H. Wang, A. Yuille, Y. Zhou, C. Xie, "Unleashing the Power of Visual Prompting At the Pixel
Level", TMLR 2024, https://arxiv.org/abs/2212.10556. With ``placement: overlay``, ``initial: normal`` and
``normalise_gradient: false`` it is its predecessor, VP (Bahng et al., 2022, https://arxiv.org/abs/2203.17274).

Faithful to UCSC-VLAA/EVP (commit 96b7131, main.py): the shrunken image is padded with black, the prompt is added and
not clamped, the sum is standardised, and the border's gradient is divided by the norm over the whole canvas.
Differs: only the border is stored; texts are embedded once; the classes of a classifier are matched one to one and its
own standardisation is used; images are first of the canvas's size and are shrunk from there, with antialiasing.

    pixels -> mirror, crop, shrink -> black margin -> + prompt -> standardise -> frozen backbone -> head

Letters: B batch, C channel, c side of the canvas, s side of the shrunken image, K classes.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedward_core.arrays import digest
from fedward_core.cards import Contract, Task
from fedward_core.errors import CheckpointError, SpecError
from fedward_core.metric import WITHOUT_PROMPT
from fedward_core.partition import Role, Rule
from fedward_models.backbones.backbone import Backbone
from fedward_models.backbones.clip_vit.clip_vit import CHANNELS, CLIPViT
from fedward_models.batch import Batch
from fedward_models.frozen import FrozenWeights, read_frozen
from fedward_models.inheritance import Inheritance, take_over
from fedward_models.losses.label_losses import classification_loss
from fedward_models.method import Method
from fedward_models.methods.evp.canvas import check_crop, cropped, resized
from fedward_models.methods.evp.config import EVPConfig
from fedward_models.methods.evp.diversity import diversified
from fedward_models.methods.evp.heads import build_head, features_read
from fedward_models.methods.evp.prompt import Prompt, published_free_px
from fedward_models.methods.evp.reading import check_noted, check_previous
from fedward_models.methods.evp.tower import ClassifierHead
from fedward_models.step import Clock, StepOutput
from fedward_models.towers.features import read_features
from fedward_models.towers.frozen_backbone import FrozenBackbone
from fedward_models.towers.image_file import load_backbone
from fedward_models.towers.standards import standard_note, standard_of, standardised
from fedward_models.weights import arrays_of

_FROZEN = ("backbone.", "head.")


class EVP(Method):
    """A prompt before a frozen network.

    Attributes:
        config: Its settings.
        backbone: Frozen; part of the state unless a file holds it.
        head: Frozen too.
        features: What the head reads of the backbone: what the classifier of a file was trained on.
        prompt: All that is trained, and all that travels.

    Raises:
        SpecError: Settings, backbone and study do not fit each other.
        CheckpointError: A file is missing, is another, or holds another network.
    """

    backbone: FrozenBackbone

    def __init__(self, config: EVPConfig, *, backbone: Backbone, contract: Contract) -> None:
        super().__init__()
        _check_study(backbone, contract)
        self.config, self.num_classes = config, len(contract.classes)
        arrays = read_frozen(config.weights) if isinstance(config.weights, FrozenWeights) else None
        if arrays is not None and isinstance(config.weights, FrozenWeights):
            load_backbone(backbone, arrays, name=config.weights.name)
        self.backbone = FrozenBackbone(backbone, inside=arrays is None)
        self.head: nn.Module = build_head(config, backbone, contract, arrays)
        self.features = features_read(config, backbone, arrays)
        self.normalisation = standard_of(config.normalisation, backbone, channels=contract.channels)
        if isinstance(config.weights, FrozenWeights) and config.head == "classifier":
            check_noted(config.weights, normalisation=self.normalisation)
        channels = CHANNELS if isinstance(backbone, CLIPViT) else contract.channels
        self.free_px = config.image_px or published_free_px(backbone.image_px)
        check_crop(config, self.free_px)
        self.prompt = Prompt(
            canvas_px=backbone.image_px, free_px=self.free_px, channels=channels, normal=config.initial == "normal"
        )

    def prepare(self, batch: Batch, rng: torch.Generator) -> Batch:
        """Change images as the settings say, and draw what follows when they are put on the canvas.

        That is ``mirrored``, (B,) booleans, and where crops begin, ``corner``, (B, 2) in [0, 1).
        """
        batch = diversified(batch, self.config, rng)
        mirrored = torch.rand(len(batch), generator=rng) < self.config.flip
        drawn = {**batch.drawn, "mirrored": mirrored.to(batch.images.device)}
        if self.config.crop_from_px:
            drawn["corner"] = torch.rand(len(batch), 2, generator=rng).to(batch.images.device)
        return replace(batch, drawn=drawn)

    def training_step(self, batch: Batch, clock: Clock) -> StepOutput:  # noqa: ARG002 - the signature of the family
        """The mean cross-entropy (Sec. 3), without smoothing or regulariser."""
        return StepOutput(loss=classification_loss(self.scores(batch), batch.class_numbers(self.num_classes)).mean())

    def evaluation_loss(self, batch: Batch) -> Tensor:
        """The loss of each image, whole and not mirrored, (B,)."""
        return classification_loss(self.scores(replace(batch, drawn={})), batch.class_numbers(self.num_classes))

    @property
    def standardises(self) -> bool:
        """The prompt is added to pixels, and the sum is standardised."""
        return True

    def predict_batch(self, batch: Batch) -> Tensor:
        """(B, K) probabilities of whole images with the prompt around them."""
        return self.scores(replace(batch, drawn={})).softmax(dim=1)

    def scores(self, batch: Batch) -> Tensor:
        """(B, K) logits of a batch, mirrored and cropped as it was prepared."""
        logits: Tensor = self.head(self._read(self.prompted(batch)))
        return logits

    def prompted(self, batch: Batch) -> Tensor:
        """What the frozen network sees: (B, C, c, c), standardised after the prompt was added."""
        return self._standardised(self.canvas(batch) + self.prompt(), batch)

    def canvas(self, batch: Batch) -> Tensor:
        """The images as the prompt finds them: (B, C, c, c), pixels in [0, 1], with a black margin to be filled."""
        pixels = self._pixels(batch)
        if "mirrored" in batch.drawn:
            pixels = torch.where(batch.drawn["mirrored"].view(-1, 1, 1, 1), pixels.flip(-1), pixels)
        if self.config.placement == "overlay":
            return resized(pixels, self.prompt.canvas_px)
        if "corner" in batch.drawn and self.config.crop_from_px:
            shrunk = cropped(resized(pixels, self.config.crop_from_px), batch.drawn["corner"], self.free_px)
        else:
            shrunk = resized(pixels, self.free_px)
        return functional.pad(shrunk, (self.prompt.margin_px,) * 4)

    @torch.no_grad()
    def answers(self, batch: Batch) -> Tensor:
        """What the frozen classifier says of whole images without a prompt, for ``match_classes``: (B, S) logits.

        Raises:
            SpecError: The head reads texts, which need no matching.
        """
        if not isinstance(self.head, ClassifierHead):
            raise SpecError("classes of a text head are those of the study: only a classifier's are matched")
        return self.head.answers(self._plain_features(batch))

    def measures(self, batch: Batch) -> Mapping[str, Tensor]:
        """Whether the frozen network alone is right about whole images: the baseline without any training, (B,)."""
        if batch.labels is None:
            return {}
        right = self.head(self._plain_features(batch)).argmax(dim=1) == batch.labels
        return {WITHOUT_PROMPT: right.double()}

    def after_backward(self, clock: Clock) -> None:  # noqa: ARG002 - the signature of the family
        """Divide the gradient by its norm over the whole canvas."""
        if self.config.normalise_gradient:
            self.prompt.normalise()

    def rules(self) -> tuple[Rule, ...]:
        """The prompt travels; a network in the state is sent down once and never back."""
        return (Rule(pattern=r"prompt\..*", role=Role.SHARED), Rule(pattern=r".*", role=Role.PRIVATE))

    @property
    def no_weight_decay(self) -> frozenset[str]:
        """The prompt (Sec. 3)."""
        return frozenset({"prompt.border"})

    @property
    def notes(self) -> tuple[str, ...]:
        """Which frozen network, by digest, which embeddings, and what pixels were standardised by."""
        weights, embeddings = self.config.weights, self.config.embeddings
        if isinstance(weights, FrozenWeights):
            tower = weights.note("frozen network")
        else:
            origin = "the previous stage's" if weights == "previous" else "as built from the seed, for trials only"
            tower = f"frozen network: {origin}, digest {digest(arrays_of(self.backbone.network))}"
        named = () if embeddings is None else (embeddings.note("class embeddings"),)
        standard = () if self.normalisation == "site" else (standard_note(self.normalisation),)
        return (tower, *named, *standard)

    def inherit(self, state: Mapping[str, Tensor], source: Method) -> Inheritance:
        """Freeze the network of the stage before; a stage of evp on the same network is taken over whole.

        Raises:
            SpecError: The previous stage is evp with another network or another border, or a probe whose head reads the
                class token, or its network saw pixels of another standard.
            CheckpointError: An entry is missing or has another shape.
        """
        if isinstance(source, EVP):
            _check_same(self, source)
            return Inheritance.of(self, state, taken=take_over(self, state, self.state_dict()))
        if not self.config.needs_previous:
            raise SpecError(
                "evp with weights of its own has nothing to take over from another method: use start_from: scratch, or "
                "weights: previous"
            )
        check_previous(self, source, with_head=self.config.head == "classifier")
        return self._frozen_from(state)

    def _frozen_from(self, state: Mapping[str, Tensor]) -> Inheritance:
        wanted = [name for name in self.state_dict() if name.startswith(_FROZEN)]
        if missing := [name for name in wanted if name not in state]:
            raise CheckpointError(
                f"evp freezes the network of the previous stage, which lacks '{missing[0]}': put a stage of supervised "
                "with the same backbone before it"
            )
        return Inheritance.of(self, state, taken=take_over(self, state, wanted))

    def _pixels(self, batch: Batch) -> Tensor:
        """(B, C, H, W) in [0, 1]; grey images in as many channels as the prompt has."""
        pixels = batch.pixels.clamp(0, 1)
        return pixels.expand(-1, len(self.prompt.border), -1, -1)

    def _plain_features(self, batch: Batch) -> Tensor:
        """(B, E) of whole images, as large as the network takes them, without a prompt."""
        pixels = resized(self._pixels(batch), self.prompt.canvas_px)
        return self._read(self._standardised(pixels, batch))

    def _read(self, images: Tensor) -> Tensor:
        """What the head reads of the frozen network, (B, E)."""
        return read_features(self.backbone.network, images, self.features)

    def _standardised(self, pixels: Tensor, batch: Batch) -> Tensor:
        if self.normalisation == "site":
            return batch.standardised(pixels)
        return standardised(pixels, self.normalisation)


def _check_study(backbone: Backbone, contract: Contract) -> None:
    if contract.task is not Task.CLASSIFICATION:
        raise SpecError(f"evp tells one class an image, found the task '{contract.task}': use a classification task")
    if not contract.classes:
        raise SpecError("evp tells classes apart and the study has none: label the images, or name dataset.classes")
    if not isinstance(getattr(backbone, "image_px", None), int):
        raise SpecError(
            "evp surrounds flat images, and this backbone reads others: choose the backbone 'clip_vit', 'vit' or "
            "another one of images"
        )


def _check_same(ours: EVP, theirs: EVP) -> None:
    def identity(method: EVP) -> tuple[object, ...]:
        config = method.config
        frozen = (config.weights, config.head, config.embeddings, config.mapping, config.template)
        return (*frozen, config.placement, method.normalisation, method.free_px, method.prompt.canvas_px)

    if identity(ours) != identity(theirs):
        raise SpecError(
            "a prompt serves the network and the border that it was trained with, and the previous stage of evp has "
            "others: make weights, head, mapping, image_px and normalisation alike"
        )
