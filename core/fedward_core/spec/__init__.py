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

from fedward_core.spec.choices import (
    NAME,
    AggregatorConfig,
    BackboneConfig,
    FilterConfig,
    MethodConfig,
    PersonalisationConfig,
)
from fedward_core.spec.cohort import Cohort
from fedward_core.spec.dataset import Dataset, Standardisation
from fedward_core.spec.evaluate import Evaluate, PublicSet
from fedward_core.spec.local import Local, Schedule
from fedward_core.spec.spec import Spec
from fedward_core.spec.stage import Stage

__all__ = [
    "NAME",
    "AggregatorConfig",
    "BackboneConfig",
    "Cohort",
    "Dataset",
    "Evaluate",
    "FilterConfig",
    "Local",
    "MethodConfig",
    "PersonalisationConfig",
    "PublicSet",
    "Schedule",
    "Spec",
    "Stage",
    "Standardisation",
]
