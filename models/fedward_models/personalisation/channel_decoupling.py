"""Channel decoupling: in every layer the last channels are the site's own, the first ones are everyone's.

    dense layer      rows               block              branch           classifier (cut along its input)
                from S   from P    from S   from P    from S   from P            from S   from P
    to S        shared   shared    shared   private   shared   zero       class  shared   private
    to P        private  private   private  private   zero     private

Paper: Y. Shen, Y. Zhou, L. Yu, "CD2-pFed: Cyclic Distillation-guided Channel Decoupling for Model Personalization in
Federated Learning", CVPR 2022, arXiv:2204.03880. There is no published code, and the full text could not be obtained
for this implementation. Faithful to what is known of it: one private share for all layers that grows linearly from 0,
the classifier cut along its input, and the distillation between both halves. Decided here: which channels are private
(the last ones), the fate of the weights between the halves, the shared bias of the classifier, norms that follow their
channel, and heads and hidden units as the channels of a transformer, whose residual stream stays shared.
"""

import re
from collections import defaultdict
from collections.abc import Iterator

from fedward_core.cards import Task
from fedward_core.channel_cut import Cut
from fedward_core.errors import SpecError
from fedward_core.partition import Partition, Role, Rule
from fedward_core.spec import Local
from fedward_models.backbones.backbone import ChannelGroup
from fedward_models.method import Method
from fedward_models.personalisation.branches import Branches, refuse_mixing
from fedward_models.personalisation.config import ChannelDecouplingConfig
from fedward_models.personalisation.distillation import CyclicDistillation
from fedward_models.personalisation.halves import gates
from fedward_models.personalisation.norms import norm_names
from fedward_models.personalisation.personalisation import Personalisation, narrowed, private
from fedward_models.personalisation.temporal_averaging import TemporalAveraging, count_epochs
from fedward_models.training.phase import Phase
from fedward_models.training.terms import LocalTerm


class ChannelDecoupling(Personalisation):
    """A share of each layer's channels is private, and the two halves teach each other."""

    config: ChannelDecouplingConfig

    def extend(self, method: Method) -> None:
        """A counter of the site's epochs, where weights are averaged over them."""
        if self.config.temporal_averaging is not None:
            count_epochs(method)

    def rules(self, method: Method) -> tuple[Rule, ...]:
        """Cuts along the channels of every group of the backbone; what no group names is as the method says.

        Raises:
            SpecError: A layer of a single channel cannot be divided; distillation needs predictions over classes that
                the method lacks; ``norms: local`` needs norms; or ``coupling: branch`` meets layers that mix channels.
        """
        if self.config.distillation:
            _refuse_without_class_distribution(method)
        if 0 < self.config.private < 1:
            _refuse_single_channels(method)
        if self.config.coupling == "branch":
            refuse_mixing(method)
        norms = private(norm_names(method)) if self.config.norms == "local" else ()
        return narrowed(method, (*norms, *_cut_rules(method, inputs_too=self.config.coupling != "rows")))

    def terms(self, method: Method, partition: Partition) -> tuple[LocalTerm, ...]:
        """Branches first, then the distillation and the averaging.

        There is no distillation at weight 0, nor where a half is missing: no channel is private, or all are.
        """
        places = gates(method, partition.share) if self.config.distillation else ()
        return (
            *((Branches(partition),) if self.config.coupling == "branch" else ()),
            *((CyclicDistillation(self.config, places),) if places else ()),
            *((TemporalAveraging(self.config, partition),) if self.config.temporal_averaging is not None else ()),
        )

    def phases(
        self, method: Method, partition: Partition, *, local: Local, terms: tuple[LocalTerm, ...], joining: bool
    ) -> tuple[Phase, ...]:
        """One phase; longer where a site joins, so that its private channels come to fit what the others share."""
        if joining and 0 < partition.share < 1:
            local = local.model_copy(update={"epochs": local.epochs + self.config.warmup_epochs})
        return super().phases(method, partition, local=local, terms=terms, joining=joining)

    def evaluated(self, method: Method, partition: Partition) -> Method:
        """The method itself; as branches, without the weights between them, which only a site that trained removed."""
        if self.config.coupling == "branch":
            Branches(partition).begin(method)
        return method


def _refuse_without_class_distribution(method: Method) -> None:
    """Distillation compares softmaxes, which exclusive classes have, and neither pre-training nor multi-label has."""
    if type(method).logits is Method.logits or getattr(method, "task", None) is Task.MULTI_LABEL:
        raise SpecError(
            f"distillation compares predictions over exclusive classes, but this {type(method).__name__} makes none: "
            "set distillation: 0, or choose a method and a task with such classes"
        )


def _refuse_single_channels(method: Method) -> None:
    single = [group.name for group in method.backbone.channel_groups() if group.channels == 1]
    if single:
        raise SpecError(
            f"layer '{single[0]}' has a single channel, which cannot be divided into a shared and a private part: "
            "widen the layer, or set personalise.private to 0 or 1"
        )


def _cut_rules(method: Method, *, inputs_too: bool) -> Iterator[Rule]:
    """One rule for each tensor; one that carries the channels of several groups is cut once for each."""
    cuts: defaultdict[str, list[Cut]] = defaultdict(list)
    for group in method.backbone.channel_groups():
        for name, cut in _cuts(group, inputs_too=inputs_too):
            cuts[name].append(cut)
    for name, found in cuts.items():
        yield Rule(pattern=re.escape(name), role=Role.PRIVATE, cuts=tuple(found))


def _cuts(group: ChannelGroup, *, inputs_too: bool) -> Iterator[tuple[str, Cut]]:
    for axis in (*group.outputs, *(group.inputs if inputs_too else ())):
        yield (
            f"backbone.{axis.tensor}",
            Cut(channels=group.channels, dims=(axis.dim,), unit=axis.unit, tiles=axis.tiles),
        )
    if group.feeds_head:
        yield "head.weight", Cut(channels=group.channels, dims=(1,), unit=group.head_unit)
