"""Channel decoupling: in every layer the last channels are the site's own, the first ones are everyone's.

    dense layer, coupling "rows"          classifier (cut along its input)
              from S   from P                     from S   from P
    to S     shared   shared              class   shared   private
    to P     private  private

Paper: Y. Shen, Y. Zhou, L. Yu, "CD2-pFed: Cyclic Distillation-guided Channel Decoupling for Model Personalization in
Federated Learning", CVPR 2022, arXiv:2204.03880. There is no published code, and the full text could not be obtained
for this implementation. Faithful to what is known of it: one private share for all layers that grows linearly from 0,
the classifier cut along its input, and the distillation between both halves. Decided here: which channels are private
(the last ones), the fate of the weights between the halves (``rows``), the shared bias of the classifier, norms that
follow their channel, and heads and hidden units as the channels of a transformer, whose residual stream stays shared.
Differs: the paper averages a site's weights over its epochs; here a site ends its round with the weights of its last
step.
"""

import re
from collections import defaultdict
from collections.abc import Iterator

from fedward_core.cards import Task
from fedward_core.errors import SpecError
from fedward_core.partition import Cut, Partition, Role, Rule
from fedward_models.backbones.backbone import ChannelGroup
from fedward_models.method import Method
from fedward_models.personalisation.config import ChannelDecouplingConfig
from fedward_models.personalisation.distillation import CyclicDistillation
from fedward_models.personalisation.halves import gates
from fedward_models.personalisation.norms import norm_names
from fedward_models.personalisation.personalisation import Personalisation, narrowed, private
from fedward_models.training.terms import LocalTerm


class ChannelDecoupling(Personalisation):
    """A share of each layer's channels is private, and the two halves teach each other."""

    config: ChannelDecouplingConfig

    def rules(self, method: Method) -> tuple[Rule, ...]:
        """Cuts along the channels of every group of the backbone; what no group names is as the method says.

        Raises:
            SpecError: Distillation needs predictions over classes that the method lacks, or ``norms: local`` norms.
        """
        if self.config.distillation:
            _refuse_without_class_distribution(method)
        norms = private(norm_names(method)) if self.config.norms == "local" else ()
        return narrowed(method, (*norms, *_cut_rules(method)))

    def terms(self, method: Method, partition: Partition) -> tuple[LocalTerm, ...]:
        """The distillation; none at weight 0, and none where a half is missing: no channel is private, or all are."""
        places = gates(method, partition.share) if self.config.distillation else ()
        return (CyclicDistillation(self.config, places),) if places else ()


def _refuse_without_class_distribution(method: Method) -> None:
    """Distillation compares softmaxes, which exclusive classes have, and neither pre-training nor multi-label has."""
    if type(method).logits is Method.logits or getattr(method, "task", None) is Task.MULTI_LABEL:
        raise SpecError(
            f"distillation compares predictions over exclusive classes, but this {type(method).__name__} makes none: "
            "set distillation: 0, or choose a method and a task with such classes"
        )


def _cut_rules(method: Method) -> Iterator[Rule]:
    """One rule for each tensor; one that carries the channels of several groups is cut once for each."""
    cuts: defaultdict[str, list[Cut]] = defaultdict(list)
    for group in method.backbone.channel_groups():
        for name, cut in _cuts(group):
            cuts[name].append(cut)
    for name, found in cuts.items():
        yield Rule(pattern=re.escape(name), role=Role.PRIVATE, cuts=tuple(found))


def _cuts(group: ChannelGroup) -> Iterator[tuple[str, Cut]]:
    for axis in group.outputs:
        yield (
            f"backbone.{axis.tensor}",
            Cut(channels=group.channels, dims=(axis.dim,), unit=axis.unit, tiles=axis.tiles),
        )
    if group.feeds_head:
        yield "head.weight", Cut(channels=group.channels, dims=(1,), unit=group.head_unit)
