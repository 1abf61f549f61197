"""A run, whole."""

import hashlib
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from fedward_core.cards import SERVES, DataNeed, Task
from fedward_core.config import Config, Frozen
from fedward_core.errors import SpecError, without_folder
from fedward_core.spec.choices import NAME, BackboneConfig
from fedward_core.spec.cohort import Cohort
from fedward_core.spec.dataset import Dataset
from fedward_core.spec.evaluate import Evaluate
from fedward_core.spec.stage import Stage
from fedward_core.yaml_file import read_yaml

# Decided here: the longest example has four, and some checks look back from every stage to the first.
MOST_STAGES = 50


class Spec(Frozen):
    """One run, whole."""

    name: str = Field(pattern=NAME)
    seed: int = Field(default=0, ge=0)
    cohort: Cohort = Cohort()
    dataset: Dataset
    stages: tuple[Stage, ...] = Field(min_length=1, max_length=MOST_STAGES)
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
            elif stage.method.freezes_previous and self.backbone_of(index) != self.backbone_of(index - 1):
                raise ValueError(
                    f"stage '{stage.name}' freezes the network of the stage before and names another backbone, with "
                    "which the same weights would say something else: leave 'backbone' out"
                )
        if self.dataset.label_fraction < 1 and all(not s.method.needs_labels or s.label_fraction for s in self.stages):
            raise ValueError(
                "dataset.label_fraction has no effect: no stage of this spec reads labels without a label_fraction of "
                "its own"
            )
        return self

    @model_validator(mode="after")
    def _check_folding(self) -> Self:
        cohort = self.cohort
        named = None if cohort.sites == "all" else len(cohort.training(cohort.sites))
        count = cohort.sites_per_round or named
        if count is not None and (fault := self.folding_fault(count)):
            raise ValueError(fault)
        return self

    @model_validator(mode="after")
    def _check_public(self) -> Self:
        if self.evaluate.public is None:
            return self
        if self.evaluate.public.name == self.dataset.name:
            raise ValueError(
                f"evaluate.public names '{self.dataset.name}', which is the dataset that the sites train on: name one "
                "that is public"
            )
        if self.dataset.task is Task.SEGMENTATION or not any(stage.method.needs_labels for stage in self.stages):
            raise ValueError(
                "evaluate.public has no effect: no stage of this spec predicts classes of whole images. Leave it out"
            )
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
            values = read_yaml(path)
        except (OSError, ValueError) as error:
            raise SpecError(f"cannot read the spec '{path.name}': {without_folder(error, path)}") from error
        return cls.parse(values)

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
                f"  {'.'.join(map(str, fault['loc'])) or 'spec'}: {_sentence(fault)}"
                for fault in error.errors()
                if not _is_echo(fault)
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

    def folding_fault(self, sites: int) -> str:
        """Why the updates of so many sites cannot be folded, in whichever stage; empty if they can."""
        for stage in self.stages:
            least = stage.aggregate.least_updates
            if sites < least:
                return (
                    f"stage '{stage.name}': aggregate '{stage.aggregate.name}' with these settings needs the updates "
                    f"of {least} sites in a round, and {sites} train. Let more take part, or choose other settings"
                )
        return ""

    def beginning(self, num_stages: int) -> "Spec":
        """The first stages as work to be done: alike for specs that begin alike, whatever follows.

        Neither a run's name nor what is evaluated changes what is trained. A label fraction is that of the stages that
        read labels, so that what was pre-trained without any serves every fraction.
        """
        everywhere = self.dataset.label_fraction
        stages = tuple(
            stage.model_copy(update={"label_fraction": stage.label_fraction or everywhere})
            if stage.method.needs_labels
            else stage
            for stage in self.stages[:num_stages]
        )
        dataset = self.dataset.model_copy(update={"label_fraction": 1.0})
        same = {"name": "any", "dataset": dataset, "stages": stages, "evaluate": Evaluate()}
        return self.model_copy(update=same)

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


_SHOWN = 40  # letters of what was found
_PLAIN = {
    "missing": "this key is needed",
    "model_type": "expected a table, with a line 'key: value' for each of its keys",
    "tuple_type": "expected a list: each entry behind a '-', or all between [ and ]",
}


def _is_echo(fault: Any) -> bool:
    """Whether a list is called short only because entries of it are wrong, each of which is a fault of its own."""
    return bool(fault["type"] == "too_short" and len(fault["input"]) >= fault["ctx"]["min_length"])


def _sentence(fault: Any) -> str:
    if fault["type"] in _PLAIN:
        return _PLAIN[fault["type"]]
    found = fault["input"]
    told = fault["type"] != "value_error" and isinstance(found, str | int | float) and len(str(found)) <= _SHOWN
    return str(fault["msg"]).removeprefix("Value error, ") + (f", found {found!r}" if told else "")
