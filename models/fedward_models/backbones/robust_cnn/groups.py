"""Where the channels of a robust convolutional network are, for cutting them between sites.

A residual stream starts where something projects into it (the stem, or a block with a convolution in its shortcut) and
ends where the next block projects. A depth-wise convolution keeps its channels apart, so its weights belong to the
channels on both of its sides.
"""

from collections.abc import Iterator, Mapping

from fedward_models.backbones.backbone import Activation, Axis, ChannelGroup, norm_axes
from fedward_models.backbones.group_draft import GroupDraft
from fedward_models.backbones.robust_cnn.block import Block, Convolution


def channel_groups_of(blocks: Mapping[str, Block], *, patch_stem: bool, norm: str) -> tuple[ChannelGroup, ...]:
    """The streams, and the channels within each block.

    Args:
        blocks: By name, in order.
        patch_stem: Whether the stem is one convolution.
        norm: ``batch`` or ``group``.
    """
    streams = [_of_stem(next(iter(blocks.values())).shape.inputs, patch_stem=patch_stem, norm=norm)]
    for name, block in blocks.items():
        _read(streams[-1], name, block)
        if block.downsample is not None:
            streams.append(GroupDraft(name=f"from {name}", channels=block.shape.outputs))
            streams[-1].outputs += [*_conv(f"{name}.downsample.0"), *_norm(f"{name}.downsample.1", norm)]
        _add_into(streams[-1], name, block, norm)
    groups = [stream.group(feeds_head=stream is streams[-1]) for stream in streams]
    return (*groups, *(group for name, block in blocks.items() for group in _within(name, block, norm)))


def _of_stem(channels: int, *, patch_stem: bool, norm: str) -> GroupDraft:
    outputs = list(_conv("stem")) if patch_stem else [*_conv("stem.0"), *_norm("stem.1", norm)]
    return GroupDraft(name="stem", channels=channels, outputs=outputs, activations=[Activation(module="stem")])


def _read(stream: GroupDraft, name: str, block: Block) -> None:
    first = block.convolutions[0]
    if first.depthwise:  # output channel i reads input channel i // unit
        stream.inputs.append(Axis(tensor=f"{name}.{first.name}.weight", unit=first.outputs // first.inputs))
    else:
        stream.inputs.append(Axis(tensor=f"{name}.{first.name}.weight", dim=1))
    if block.downsample is not None:
        stream.inputs.append(Axis(tensor=f"{name}.downsample.0.weight", dim=1))


def _add_into(stream: GroupDraft, name: str, block: Block, norm: str) -> None:
    for conv in _adding(block):
        stream.outputs += [*_conv(f"{name}.{conv.name}"), *_norm_after(name, block, conv, norm)]
    if block.gamma is not None:
        stream.outputs.append(Axis(tensor=f"{name}.gamma"))
    stream.activations.append(Activation(module=name))


def _adding(block: Block) -> tuple[Convolution, ...]:
    """The convolutions whose channels are the stream's: the last, and the one before it if the last is depth-wise."""
    return block.convolutions[-2:] if block.convolutions[-1].depthwise else block.convolutions[-1:]


def _within(name: str, block: Block, norm: str) -> Iterator[ChannelGroup]:
    """Runs of channels between the first convolution and the stream; a depth-wise convolution continues a run."""
    inner = block.convolutions[: -len(_adding(block))]
    runs: list[list[Convolution]] = []
    for index, conv in enumerate(inner):
        if conv.depthwise and index:
            runs[-1].append(conv)
        else:
            runs.append([conv])
    readers = [*(run[0] for run in runs[1:]), _adding(block)[0]]
    for run, reader in zip(runs, readers, strict=True):
        yield _run(name, block, run, reader, norm)


def _run(name: str, block: Block, run: list[Convolution], reader: Convolution, norm: str) -> ChannelGroup:
    outputs = [axis for c in run for axis in (*_conv(f"{name}.{c.name}"), *_norm_after(name, block, c, norm))]
    return ChannelGroup(
        name=f"{name}.{run[0].name}",
        channels=run[0].outputs,
        outputs=tuple(outputs),
        inputs=(Axis(tensor=f"{name}.{reader.name}.weight", dim=1),),
        activations=(Activation(module=f"{name}.{reader.name}", before=True),),
    )


def _norm_after(name: str, block: Block, conv: Convolution, norm: str) -> tuple[Axis, ...]:
    first = 2 if block.shape.variant == "down_inverted" else 1
    own = f"norm{first + block.convolutions.index(conv)}"
    return _norm(f"{name}.{own}", norm) if hasattr(block, own) else ()


def _conv(name: str) -> tuple[Axis, ...]:
    return Axis(tensor=f"{name}.weight"), Axis(tensor=f"{name}.bias")


def _norm(name: str, norm: str) -> tuple[Axis, ...]:
    return norm_axes(name, statistics=norm == "batch")
