"""Where the channels of a network are that was not written here, read off its graph.

    images -> conv -> norm -> relu -> conv -> norm -> (+) -> relu -> pool -> head
                              `-------------------------^            a sum joins both sides' channels into one group

A convolution or linear layer reads one group and starts another. Norms, activations, pooling and dropout keep a group,
so do depth-wise convolutions with one output for each input; sums and products join two into one. Whatever else
computes with activations, such as attention, concatenation or a norm over channels, is refused by its name: a wrong cut
would be worse than none.

A pass through one half is masked where a group is read, since norms fill zeros again.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from fedward_core.errors import SpecError
from fedward_models.backbones.backbone import Activation, Axis, ChannelGroup
from fedward_models.backbones.group_draft import GroupDraft

_KEEPING_MODULES: tuple[type[nn.Module], ...] = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid),
    *(nn.Dropout, nn.Dropout2d, nn.Dropout3d, nn.Identity, nn.Flatten),
    *(nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
)
_KEEPING_CALLS: tuple[Callable[..., Any] | str, ...] = (
    *(torch.relu, torch.sigmoid, torch.flatten, torch.unflatten, functional.relu, functional.gelu, functional.silu),
    *(functional.dropout, functional.max_pool2d, functional.max_pool3d, functional.avg_pool2d, functional.avg_pool3d),
    *(functional.adaptive_avg_pool2d, functional.adaptive_avg_pool3d),
    *("relu", "relu_", "sigmoid", "flatten", "view", "reshape", "contiguous"),
)
_JOINING_CALLS: tuple[Callable[..., Any] | str, ...] = (
    *(operator.add, operator.iadd, operator.mul, operator.imul, torch.add, torch.mul),
    *("add", "add_", "mul", "mul_"),
)
_SHAPE = "shape"
_MEANS: tuple[Callable[..., Any] | str, ...] = (torch.mean, "mean")


def traced_groups(
    network: nn.Module, example: Tensor, *, keeping: tuple[type[nn.Module], ...] = ()
) -> tuple[ChannelGroup, ...]:
    """The channel groups of a network whose graph is made of layers that keep channels apart.

    Args:
        network: The network; names are relative to it.
        example: Images of the right size, (1, C, H, W) or (1, C, D, H, W).
        keeping: Further modules of a library that leave every channel in its place.

    Raises:
        SpecError: The network does something else with its channels.
    """
    graph = _graph(network, example, (*_KEEPING_MODULES, *keeping))
    return _Reading(network, (*_KEEPING_MODULES, *keeping)).groups(graph)


@dataclass(frozen=True, kw_only=True)
class _Channels:
    """What axis 1 of an activation consists of: every channel of a group, in runs of ``unit`` entries."""

    group: int
    unit: int = 1


class _Reading:
    """Follows channels along a graph; :attr:`seen` holds those of each node that has some."""

    def __init__(self, network: nn.Module, keeping: tuple[type[nn.Module], ...]) -> None:
        self._network, self._keeping = network, keeping
        self._groups: list[GroupDraft] = []
        self._joined: list[int] = []  # for each group the one that it was joined into, itself at first
        self._used: set[str] = set()
        self.seen: dict[fx.Node, _Channels | None] = {}

    def groups(self, graph: fx.Graph) -> tuple[ChannelGroup, ...]:
        """Read a graph."""
        for node in graph.nodes:
            if node.op == "output":
                return self._finished(self.seen.get(node.args[0]))
            if _shape(node) is not None:
                self.seen[node] = self._channels_of(node)
        raise AssertionError("a graph ends with its output")

    def _channels_of(self, node: fx.Node) -> _Channels | None:
        if node.op == "placeholder":
            return None
        if node.op == "call_module":
            return self._of_module(node, self._network.get_submodule(str(node.target)))
        if node.target in _JOINING_CALLS:
            return self._join(node)
        if node.target in _KEEPING_CALLS or (node.target in _MEANS and not _crosses_channels(node)):
            return self._kept(node)
        raise _refusal(getattr(node.target, "__name__", str(node.target)))

    def _of_module(self, node: fx.Node, module: nn.Module) -> _Channels | None:
        name = str(node.target)
        if isinstance(module, self._keeping):
            return self._kept(node)
        if name in self._used:
            raise _refusal(f"{name}, which is used twice")
        self._used.add(name)
        if isinstance(module, _NormBase):
            return self._written(name, module, self._kept(node))
        if isinstance(module, nn.Linear) or (isinstance(module, _ConvNd) and not isinstance(module, _ConvTransposeNd)):
            return self._of_layer(node, name, module)
        raise _refusal(type(module).__name__)

    def _of_layer(self, node: fx.Node, name: str, module: nn.Linear | _ConvNd) -> _Channels | None:
        source = self.seen[node.all_input_nodes[0]]
        if isinstance(module, _ConvNd) and module.groups > 1:
            if source is None or module.groups != module.in_channels:
                raise _refusal(f"{name} of {module.groups} groups")
            if module.out_channels == module.in_channels:
                return self._written(name, module, source)
        if source is not None:
            self._read(name, module, source)
        self._groups.append(GroupDraft(name, len(module.weight)))
        self._joined.append(len(self._joined))
        return self._written(name, module, _Channels(group=len(self._groups) - 1))

    def _read(self, name: str, module: nn.Linear | _ConvNd, source: _Channels) -> None:
        group, unit = self._groups[self._root(source)], source.unit
        dim = 1 if isinstance(module, _ConvNd) else -1
        group.activations.append(Activation(module=name, dim=dim, unit=unit, before=True))
        if isinstance(module, _ConvNd) and module.groups > 1:  # several outputs in a row read one input
            group.inputs.append(Axis(tensor=f"{name}.weight", unit=module.out_channels // module.in_channels))
        else:
            group.inputs.append(Axis(tensor=f"{name}.weight", dim=1, unit=unit))

    def _written(self, name: str, module: nn.Module, channels: _Channels | None) -> _Channels | None:
        """The entries of a layer or norm have one value for each channel along their first axis."""
        if channels is not None:
            group = self._groups[self._root(channels)]
            group.outputs += [Axis(tensor=f"{name}.{key}") for key, entry in module.state_dict().items() if entry.ndim]
        return channels

    def _kept(self, node: fx.Node) -> _Channels | None:
        """The same channels; after flattening a map each is a run of its places, and after the reverse one again."""
        source = node.all_input_nodes[0]
        channels, before, after = self.seen[source], _shape(source), _shape(node)
        if channels is None:
            return None
        assert before is not None
        assert after is not None
        unit, rest = divmod(channels.unit * after[1], before[1])
        if rest or not unit or (after[1] != before[1] and 2 not in {len(before), len(after)}):
            raise _refusal(f"a change of shape from {before[1:]} to {after[1:]}")
        return replace(channels, unit=unit)

    def _join(self, node: fx.Node) -> _Channels | None:
        sides = [self.seen[source] for source in node.all_input_nodes if _shape(source) is not None]
        first = sides[0]
        for other in sides[1:]:
            if first is None or other is None or not self._alike(first, other):
                raise _refusal(f"{node.name} of channels that do not match")
            self._joined[self._root(other)] = self._root(first)
        return first

    def _alike(self, first: _Channels, other: _Channels) -> bool:
        sizes = {self._groups[self._root(side)].channels for side in (first, other)}
        return len(sizes) == 1 and first.unit == other.unit

    def _root(self, channels: _Channels) -> int:
        group = channels.group
        while self._joined[group] != group:
            group = self._joined[group]
        return group

    def _finished(self, features: _Channels | None) -> tuple[ChannelGroup, ...]:
        if features is None:
            raise _refusal("features that no layer gives")
        for index, group in enumerate(self._groups):
            if (root := self._root(_Channels(group=index))) != index:
                self._groups[root].absorb(group)
        last = self._root(features)
        return tuple(
            group.group(feeds_head=index == last, head_unit=features.unit if index == last else 1)
            for index, group in enumerate(self._groups)
            if self._joined[index] == index
        )


class _Shapes(fx.Interpreter):
    """Runs a graph, and keeps the shape of every activation."""

    def run_node(self, n: fx.Node) -> Any:
        """As its base does."""
        result = super().run_node(n)
        if isinstance(result, Tensor):
            n.meta[_SHAPE] = tuple(result.shape)
        return result


class _Tracer(fx.Tracer):
    """Looks into composed modules, and takes layers, norms and what keeps channels as they are."""

    def __init__(self, keeping: tuple[type[nn.Module], ...]) -> None:
        super().__init__()
        self._leaves = (*keeping, _NormBase, _ConvNd, nn.Linear)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """As its base says, or one of those."""
        return isinstance(m, self._leaves) or super().is_leaf_module(m, module_qualified_name)


def _graph(network: nn.Module, example: Tensor, keeping: tuple[type[nn.Module], ...]) -> fx.Graph:
    """The graph in evaluation mode, with the shape of every activation."""
    training = network.training
    network.eval()
    try:
        graph = _Tracer(keeping).trace(network)
        with torch.no_grad():
            _Shapes(fx.GraphModule(network, graph)).run(example)
    except Exception as error:  # code of a library, given stand-ins for activations, may stumble in any way
        raise _refusal("steps that are no graph, such as decisions by an activation's shape") from error
    finally:
        network.train(training)
    return graph


def _shape(node: fx.Node) -> tuple[int, ...] | None:
    found: tuple[int, ...] | None = node.meta.get(_SHAPE)
    return found


def _crosses_channels(node: fx.Node) -> bool:
    axes = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    named = (axes,) if isinstance(axes, int) else axes
    source = _shape(node.all_input_nodes[0])
    assert source is not None
    return not isinstance(named, list | tuple) or any(int(axis) % len(source) < 2 for axis in named)


def _refusal(what: str) -> SpecError:
    return SpecError(
        f"channel decoupling cannot tell this network's channels apart: it found {what}, and follows convolutions, "
        "linear layers, batch and instance norms, sums and pooling. Choose another network, or another personalisation"
    )
