"""What a stage is made of, once its model was built: made by the models' side, kept by the coordinator, read by all."""

import hashlib
from fractions import Fraction
from functools import lru_cache

from fedward_core.cards import Contract
from fedward_core.config import Frozen
from fedward_core.manifest import Manifest
from fedward_core.partition import Partition, Rule

WEIGHTS = "weights"
"""The group of arrays that comes with a plan: the first weights."""


class StagePlan(Frozen):
    """The form of a stage's model and what of it travels.

    Attributes:
        manifest: Every tensor of the model.
        rules: Which are shared, private, frozen or cut.
        contract: The study's classes, channels and value range, for which the model was built.
        notes: What the stage took over, cloned, dropped or started anew; shown on the run.
    """

    manifest: Manifest
    rules: tuple[Rule, ...]
    contract: Contract
    notes: tuple[str, ...] = ()

    def digest(self) -> str:
        """The SHA-256 of the plan, 64 hexadecimal digits."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def partition(self, share: Fraction) -> Partition:
        """The partition at a private share; made once for each share."""
        return _partition(self, share)


@lru_cache(maxsize=16)
def _partition(plan: StagePlan, share: Fraction) -> Partition:
    return Partition(plan.manifest, plan.rules, share=share)
