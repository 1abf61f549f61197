"""The spec: one file that describes a run.

    name: covid-network
    seed: 2022
    dataset: {name: chest-xray, image_px: 64, classes: [normal, pneumonia, covid]}
    stages:
      - name: pretrain
        method: {name: mae, mask_ratio: 0.6}
        backbone: {name: vit, width: 96, depth: 4, heads: 4, patch_px: 8}
        rounds: 80
      - name: finetune
        method: supervised
        start_from: previous
        rounds: 60

A spec is frozen, checked whole before anything starts, and known by its digest. Unknown keys and settings without
effect are errors.
"""

import hashlib
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import yaml
from pydantic import BeforeValidator, Field, PositiveFloat, SerializeAsAny, ValidationError, model_validator

from fedward_core.cards import SERVES, DataKind, DataNeed, Split, Task
from fedward_core.config import Config, Frozen, chosen_from
from fedward_core.errors import SpecError

# Of a run or a stage, from end to end: it becomes a folder's name.
NAME = r"^[a-z0-9][a-z0-9_-]*$"


class MethodConfig(Config):
    """The base of every method's configuration.

    Attributes:
        need: What the method reads; the implementation declares the same. One that needs images reads whatever its
            backbone reads, volumes or clips too. None for a method that reads no data.
        needs_labels: Whether training reads labels.
        needs_backbone: Whether the method trains a backbone.
        runtime: Which program carries the method out at a site; the numpy one starts without torch.
    """

    need: ClassVar[DataNeed | None] = DataNeed.IMAGE
    needs_labels: ClassVar[bool] = True
    needs_backbone: ClassVar[bool] = True
    runtime: ClassVar[Literal["torch", "numpy"]] = "torch"

    @property
    def needs_previous(self) -> bool:
        """Whether the method reads the network of the stage before, e.g. as a teacher, beside a backbone of its own."""
        return False


class BackboneConfig(Config):
    """The base of every backbone's configuration.

    Attributes:
        need: What the backbone reads: images (B, C, H, W), volumes (B, C, D, H, W) or clips (B, C, T, H, W).
        continues: Whether a stage that starts from the previous one may name this backbone anew, with settings that
            leave its parameters as they are. Otherwise such a stage inherits it unchanged.
    """

    need: ClassVar[DataNeed] = DataNeed.IMAGE
    continues: ClassVar[bool] = False


class FilterConfig(Config):
    """The base of every filter's configuration.

    Attributes:
        compresses: Whether the filter leaves fewer bits a value, so that a second one like it finds nothing to do.
    """

    compresses: ClassVar[bool] = False


class AggregatorConfig(Config):
    """The base of every aggregator's configuration.

    Attributes:
        personalisation: The personalisation without which the rule has nothing to fold.
    """

    personalisation: ClassVar[str | None] = None


class PersonalisationConfig(Config):
    """The base of every personalisation: which part of the model stays private, and from which round on."""

    def share_at(self, round_: int, rounds: int) -> Fraction:  # noqa: ARG002 - the signature of the family
        """The private share of every cut axis in a round, in [0, 1], never falling."""
        return Fraction(0)

    def check(self, stage: "Stage") -> None:
        """Refuse a stage whose other settings contradict this personalisation. By default none does.

        Raises:
            ValueError: They do; the message says what to change.
        """


MethodChoice = Annotated[SerializeAsAny[MethodConfig], BeforeValidator(chosen_from("methods"))]
BackboneChoice = Annotated[SerializeAsAny[Config], BeforeValidator(chosen_from("backbones"))]
OptimizerChoice = Annotated[SerializeAsAny[Config], BeforeValidator(chosen_from("optimizers"))]
LocalTermChoice = Annotated[SerializeAsAny[Config], BeforeValidator(chosen_from("local_terms"))]
PersonalisationChoice = Annotated[
    SerializeAsAny[PersonalisationConfig], BeforeValidator(chosen_from("personalisations"))
]
AggregatorChoice = Annotated[SerializeAsAny[AggregatorConfig], BeforeValidator(chosen_from("aggregators"))]
FilterChoice = Annotated[SerializeAsAny[FilterConfig], BeforeValidator(chosen_from("filters"))]


class Cohort(Frozen):
    """Who takes part.

    Attributes:
        sites: Site names, or ``all`` that have the dataset.
        hold_out: Those of them that evaluate and never train, to see how a model does at a hospital that it never saw.
        sites_per_round: How many sites train in a round, drawn anew for each; all by default. Every site evaluates.
        min_sites: Contributions, counted after drop-outs, without which a round fails.
        round_deadline_s: After this time a round goes on without those that have not answered.
    """

    sites: Literal["all"] | tuple[str, ...] = "all"
    hold_out: tuple[str, ...] = ()
    sites_per_round: int | None = Field(default=None, ge=1)
    min_sites: int = Field(default=3, ge=1)
    round_deadline_s: float = Field(default=900.0, gt=0)

    @model_validator(mode="after")
    def _check_quorum(self) -> Self:
        if self.sites == "all":
            return self
        if unknown := sorted(set(self.hold_out) - set(self.sites)):
            raise ValueError(f"hold_out names {', '.join(unknown)}, which sites does not: name them in both")
        if (count := len(self.training(self.sites))) < self.min_sites:
            raise ValueError(
                f"min_sites is {self.min_sites}, but sites names only {count} that train: name more, or lower it"
            )
        return self

    @model_validator(mode="after")
    def _check_draw(self) -> Self:
        if self.sites_per_round is None:
            return self
        if self.sites_per_round < self.min_sites:
            raise ValueError(
                f"sites_per_round is {self.sites_per_round}, fewer than min_sites {self.min_sites}: no round could "
                "succeed. Draw more, or lower min_sites"
            )
        if self.sites != "all" and self.sites_per_round >= len(self.training(self.sites)):
            raise ValueError(
                f"sites_per_round {self.sites_per_round} has no effect on {len(self.training(self.sites))} sites: "
                "leave it out, or draw fewer"
            )
        return self

    def training(self, sites: Iterable[str]) -> tuple[str, ...]:
        """Those of the sites that are not held out, in their order."""
        return tuple(site for site in sites if site not in self.hold_out)


class Dataset(Frozen):
    """Which data, and how it reaches the model.

    Attributes:
        name: The dataset's name in the sites' catalogues.
        kind: What one example is: an image, a volume, a clip, or an image with its report.
        image_px: Images, slices and frames are resized to this height and width.
        depth: Slices of a volume after resampling.
        spacing_mm: Volumes are resampled to voxels of this depth, height and width, then cut or filled up with black
            around their middle. Without it, each whole volume is resized to the grid.
        window: The values shown as black and as white, in the units of DICOM and NIfTI files (Hounsfield units for CT).
            Without it, DICOM images are shown as they say themselves, and volumes from their 0.5th to their 99.5th
            percentile.
        frames: Frames of a clip, taken from the middle of its video.
        frame_stride: Every so many frames of the video are one of the clip.
        classes: The study's classes in the order of their label numbers; empty to take those of the sites' cards.
        task: What the labels mean.
        label_fraction: The part of each site's training labels that is used: stratified, by patient, at least one
            patient of each class that is present. Methods without labels still see every image.
    """

    name: str
    kind: DataKind = DataKind.IMAGE
    image_px: int = Field(default=64, ge=8)
    depth: int | None = Field(default=None, ge=1)
    spacing_mm: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = None
    window: tuple[float, float] | None = None
    frames: int | None = Field(default=None, ge=1)
    frame_stride: int = Field(default=1, ge=1)
    classes: tuple[str, ...] = ()
    task: Task = Task.CLASSIFICATION
    label_fraction: float = Field(default=1.0, gt=0, le=1)

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        _check_grid(self.kind, DataKind.VOLUME, "depth", self.depth, {"spacing_mm": self.spacing_mm})
        _check_grid(self.kind, DataKind.CLIP, "frames", self.frames, {"frame_stride": self.frame_stride > 1})
        if self.kind is DataKind.CLIP and self.window:
            raise ValueError("window has no effect with kind 'clip', whose frames are 8-bit: leave it out")
        if self.window and self.window[0] >= self.window[1]:
            raise ValueError(f"window is {self.window}, expected the value of black below that of white")
        if self.task is Task.SEGMENTATION and self.kind in {DataKind.VOLUME, DataKind.CLIP}:
            raise ValueError(f"task 'segmentation' is for images, found kind '{self.kind}': use another task")
        return self


class Schedule(Frozen):
    """The learning rate over a stage: linear warm-up from 0, then a half cosine to the final rate, at every step.

    Attributes:
        shape: ``cosine``, or ``constant`` after the warm-up. ``cosine_table`` is Fed-BEiT's: both parts are tables over
            steps, and the peak stands in both, at the last step of the warm-up and at the first after it.
            ``cosine_epochs`` is DeiT's: set once an epoch, and the cosine's clock also runs during the warm-up.
            ``cyclic`` rises linearly from 0 to the peak and falls back to 0; ``piecewise`` takes a tenth at half of the
            rounds and a hundredth at three quarters: both are those of fast adversarial training.
        warmup_rounds: Rounds of warm-up.
        first_lr: The rate at the start of the warm-up of ``cosine_epochs``.
        final_lr: The rate at the end of the cosine.
        peak_at: Where ``cyclic`` peaks, as a part of the rounds; 0.4 by default, as in GradAlign's code.
    """

    shape: Literal["cosine", "cosine_table", "cosine_epochs", "cyclic", "piecewise", "constant"] = "constant"
    warmup_rounds: float = Field(default=0.0, ge=0)
    first_lr: float = Field(default=0.0, ge=0)
    final_lr: float = Field(default=0.0, ge=0)
    peak_at: float = Field(default=0.4, gt=0, lt=1)

    @model_validator(mode="after")
    def _refuse_settings_without_effect(self) -> Self:
        if self.shape == "constant" and self.final_lr:
            raise ValueError("final_lr has no effect with shape 'constant': use shape 'cosine', or leave final_lr out")
        if self.shape in ("cyclic", "piecewise") and (self.final_lr or self.warmup_rounds):
            raise ValueError(f"warmup_rounds and final_lr have no effect with shape '{self.shape}': leave them out")
        if self.shape != "cyclic" and self.peak_at != 0.4:
            raise ValueError(f"peak_at has no effect with shape '{self.shape}': use shape 'cyclic', or leave it out")
        if self.shape != "cosine_epochs" and self.first_lr:
            raise ValueError(f"first_lr has no effect with shape '{self.shape}': use shape 'cosine_epochs'")
        return self


class Local(Frozen):
    """Training at a site within a round.

    Attributes:
        epochs: Passes over the local data.
        batch_size: Images a step. A site with fewer images makes one batch of all; an incomplete last batch is dropped.
        threads: Threads of a site's training. With 1, every engine gives the same bits on CPU.
        device: ``auto`` takes the first GPU if there is one.
        precision: ``mixed`` uses 16-bit autocast, on a GPU only.
        optimizer: The optimiser.
        optimizer_state: ``keep`` leaves moments at the site from round to round (SSL-FL), ``reset`` starts anew
            (CD2-pFed).
        schedule: The learning rate over the stage.
        layer_decay: Each layer's rate is this times that of the layer above; 1 for none.
        clip_norm: Gradients are scaled down to this global norm.
        sam_rho: How far sharpness-aware minimisation moves the weights uphill before the gradient that counts (Foret et
            al., ICLR 2021); every step then computes two gradients. 0 for none; 0.05 in the paper and in MINiT.
        terms: Local terms that join the method's loss.
        augment: Random flips, shifts and contrast of training images, at the site.
        balanced: Draw training images with replacement, so that every class that the site has is equally likely; as
            many as there are. For one class an image.
    """

    epochs: int = Field(default=1, ge=1)
    batch_size: int = Field(default=32, ge=1)
    threads: int = Field(default=1, ge=1)
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    precision: Literal["full", "mixed"] = "full"
    optimizer: OptimizerChoice = Field(default_factory=lambda: chosen_from("optimizers")("adamw"))
    optimizer_state: Literal["keep", "reset"] = "keep"
    schedule: Schedule = Schedule()
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    clip_norm: float | None = Field(default=None, gt=0)
    sam_rho: float = Field(default=0.0, ge=0)
    terms: tuple[LocalTermChoice, ...] = ()
    augment: bool = False
    balanced: bool = False


class Stage(Frozen):
    """One method, federated for a number of rounds.

    Attributes:
        name: The stage's name.
        method: The method.
        backbone: The network; a stage that starts from the previous one inherits it and names none, unless its method
            reads the previous network beside its own.
        start_from: ``scratch``, or ``previous`` to go on from the stage before.
        rounds: Rounds.
        local: Training at a site.
        personalise: What stays private; nothing by default.
        aggregate: How updates are folded.
        filters: Applied in this order at the site, undone in reverse on the server.
    """

    name: str = Field(pattern=NAME)
    method: MethodChoice
    backbone: BackboneChoice | None = None
    start_from: Literal["scratch", "previous"] = "scratch"
    rounds: int = Field(ge=1)
    local: Local = Field(default_factory=Local)
    personalise: PersonalisationChoice | None = None
    aggregate: AggregatorChoice = Field(default_factory=lambda: chosen_from("aggregators")("weighted_mean"))
    filters: tuple[FilterChoice, ...] = ()

    @model_validator(mode="after")
    def _check_backbone_and_schedule(self) -> Self:
        if self.method.needs_previous and self.start_from == "scratch":
            raise ValueError(
                f"stage '{self.name}': method '{self.method.name}' with these settings reads the network of the stage "
                "before: set start_from: previous"
            )
        continues = isinstance(self.backbone, BackboneConfig) and self.backbone.continues
        if self.start_from == "previous" and self.backbone and not (self.method.needs_previous or continues):
            raise ValueError(
                f"stage '{self.name}' starts from the previous one and inherits its backbone: leave 'backbone' out"
            )
        if self.start_from == "scratch" and self.method.needs_backbone and not self.backbone:
            raise ValueError(f"stage '{self.name}' starts from scratch and needs a 'backbone'")
        if self.backbone and not self.method.needs_backbone:
            raise ValueError(
                f"stage '{self.name}': method '{self.method.name}' trains no backbone: leave 'backbone' out"
            )
        if self.local.balanced and not self.method.needs_labels:
            raise ValueError(
                f"stage '{self.name}': method '{self.method.name}' reads no labels, and local.balanced draws by them: "
                "leave it out"
            )
        if self.local.schedule.warmup_rounds > self.rounds:
            raise ValueError(
                f"stage '{self.name}' warms up for {self.local.schedule.warmup_rounds} of {self.rounds} rounds"
            )
        return self

    @model_validator(mode="after")
    def _check_personalisation(self) -> Self:
        if self.personalise:
            self.personalise.check(self)
        needed = self.aggregate.personalisation
        if needed and (self.personalise is None or self.personalise.name != needed):
            raise ValueError(
                f"stage '{self.name}': aggregate '{self.aggregate.name}' folds what 'personalise: {needed}' sends: "
                "set both, or neither"
            )
        return self

    @model_validator(mode="after")
    def _refuse_filters_without_effect(self) -> Self:
        compressing = [config.name for config in self.filters if config.compresses]
        if len(compressing) > 1:
            raise ValueError(f"stage '{self.name}' compresses with {' and '.join(compressing)}: choose one of them")
        return self

    def share_at(self, round_: int) -> Fraction:
        """The private share in a round."""
        return self.personalise.share_at(round_, self.rounds) if self.personalise else Fraction(0)


class Evaluate(Frozen):
    """Evaluation at the sites.

    Attributes:
        every: Rounds between evaluations; the last round of a stage is always evaluated.
        split: Which split; the test split never selects anything.
        bootstrap: Resamples for the intervals, over patients; 0 for none.
        best: The figure by which a stage's best evaluated round is kept beside its last, e.g. ``auroc``: its mean over
            sites, weighted by images. Of ``loss`` the least is best, of any other the greatest. Needs the validation
            split.
        keep_predictions: Whether each site keeps what its model predicts for every image at the newest evaluation of a
            stage. It stays at the site; where all sites are simulated, arms are compared patient by patient with it.
    """

    every: int = Field(default=5, ge=1)
    split: Split = Split.TEST
    bootstrap: int = Field(default=200, ge=0)
    best: str | None = Field(default=None, min_length=1, max_length=100)
    keep_predictions: bool = False

    @model_validator(mode="after")
    def _check_best(self) -> Self:
        if self.best is not None and self.split is not Split.VALIDATION:
            raise ValueError(
                f"best chooses a model, and the {self.split} split must not: set split to {Split.VALIDATION}, or leave "
                "best out"
            )
        return self


class Spec(Frozen):
    """One run, whole."""

    name: str = Field(pattern=NAME)
    seed: int = Field(default=0, ge=0)
    cohort: Cohort = Cohort()
    dataset: Dataset
    stages: tuple[Stage, ...] = Field(min_length=1)
    evaluate: Evaluate = Evaluate()

    @model_validator(mode="after")
    def _check_stages(self) -> Self:
        if self.stages[0].start_from == "previous":
            raise ValueError(f"stage '{self.stages[0].name}' is the first: it has no previous stage to start from")
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"stages need names of their own, found {', '.join(names)}")
        for index, stage in enumerate(self.stages):
            if isinstance(stage.backbone, BackboneConfig) and stage.backbone.continues:
                self._check_continues(index)
        if self.dataset.label_fraction < 1 and not any(stage.method.needs_labels for stage in self.stages):
            raise ValueError("dataset.label_fraction has no effect: no stage of this spec reads labels")
        return self

    def _check_continues(self, index: int) -> None:
        """A backbone that is named anew is the one of the stage before."""
        stage = self.stages[index]
        if stage.start_from == "scratch" or stage.method.needs_previous:
            return
        before, now = self.backbone_of(index - 1), self.backbone_of(index)
        if type(before) is not type(now):
            raise ValueError(
                f"stage '{stage.name}' goes on with a backbone that the previous one does not have: leave 'backbone' "
                "out, or set start_from: scratch"
            )

    @model_validator(mode="after")
    def _check_needs(self) -> Self:
        for index, stage in enumerate(self.stages):
            need, backbone = self.need_of(index), self.backbone_of(index)
            reads = backbone.need if isinstance(backbone, BackboneConfig) else DataNeed.IMAGE
            if need and reads not in (DataNeed.IMAGE, need):
                raise ValueError(
                    f"stage '{stage.name}' reads {_PLURAL[need]}, but its backbone reads {_PLURAL[reads]}: choose "
                    "another of the two"
                )
            if need and need not in SERVES[self.dataset.kind]:
                fitting = " or ".join(kind for kind, needs in SERVES.items() if need in needs)
                raise ValueError(
                    f"stage '{stage.name}' reads {_PLURAL[need]}, but dataset.kind is '{self.dataset.kind}': choose a "
                    f"method and backbone for it, or a dataset of kind {fitting}"
                )
        return self

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a YAML file.

        Raises:
            SpecError: The file is no YAML, or the spec is wrong; each fault is listed with its place.
        """
        try:
            return cls.parse(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise SpecError(f"cannot read the spec '{path.name}': {error}") from error

    @classmethod
    def parse(cls, values: Any) -> Self:
        """Check plain values.

        Raises:
            SpecError: The spec is wrong; each fault is listed with its place.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            faults = [
                f"  {'.'.join(map(str, fault['loc'])) or 'spec'}: {_sentence(fault['msg'])}" for fault in error.errors()
            ]
            raise SpecError("the spec is wrong:\n" + "\n".join(faults)) from None

    def backbone_of(self, stage: int) -> Config | None:
        """The backbone of a stage, its own or inherited."""
        while self.stages[stage].start_from == "previous" and self.stages[stage].backbone is None:
            stage -= 1
        return self.stages[stage].backbone

    def need_of(self, stage: int) -> DataNeed | None:
        """What a stage reads: what its method needs, or, for one that needs images, what its backbone reads."""
        need, backbone = self.stages[stage].method.need, self.backbone_of(stage)
        return backbone.need if need is DataNeed.IMAGE and isinstance(backbone, BackboneConfig) else need

    def digest(self) -> str:
        """The SHA-256 of the whole spec with its defaults, 64 hexadecimal digits."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


_PLURAL = {
    DataNeed.IMAGE: "images",
    DataNeed.TWO_VIEWS: "two views of images",
    DataNeed.IMAGE_REPORT: "images with reports",
    DataNeed.VOLUME: "volumes",
    DataNeed.CLIP: "clips",
}


def _check_grid(kind: DataKind, owner: DataKind, needed: str, value: int | None, optional: dict[str, Any]) -> None:
    """A kind needs one setting of its own; other kinds have none of its settings."""
    if kind is owner and value is None:
        raise ValueError(f"kind '{kind}' needs '{needed}': say how many")
    for setting in (key for key, given in {needed: value, **optional}.items() if given):
        if kind is not owner:
            raise ValueError(f"{setting} has no effect with kind '{kind}': leave it out, or set kind: {owner}")


def _sentence(message: str) -> str:
    return message.removeprefix("Value error, ")
