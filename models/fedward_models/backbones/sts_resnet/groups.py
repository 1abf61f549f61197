"""Which channels of residual networks of clips belong together: streams between blocks, and runs within them."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import nn

from fedward_models.backbones.backbone import Activation, Axis, ChannelGroup
from fedward_models.backbones.sts_resnet.blocks import Block, Factored, SqueezeExcitation, X3DBlock
from fedward_models.backbones.sts_resnet.paths import ResidualPath, SlowFastPaths


@dataclass(kw_only=True)
class _Stream:
    """What blocks add into, from one projection to the next.

    Attributes:
        name: For messages.
        sources: Convolutions that write into it.
        places: Modules whose output it is.
        readers: Convolutions that read it.
    """

    name: str
    sources: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    readers: list[str] = field(default_factory=list)


def channel_groups_of(path: ResidualPath | SlowFastPaths, *, hidden: int) -> tuple[ChannelGroup, ...]:
    """The groups of a network, by names that begin with ``path``.

    Args:
        path: The network.
        hidden: The width of a hidden layer ``fc1`` that reads its features; 0 for none.
    """
    if isinstance(path, SlowFastPaths):
        return (*_within(path.slow_path, "path.slow_path"), *_within(path.fast_path, "path.fast_path"))
    *streams, last = _streams(path)
    groups = [_stream_group(stream, path) for stream in streams]
    return (*groups, *_ends(last, path, hidden=hidden), *_within(path, "path"))


def _streams(path: ResidualPath) -> Iterator[_Stream]:
    stem = [f"path.{name}" for name in path.stem]
    stream = _Stream(name="path.stem", sources=[_last_conv(path, name) for name in stem], places=stem[-1:])
    for name, block in _blocks(path, "path"):
        stream.readers.append(f"{name}.{block.convolutions[0]}")
        if block.downsample is not None:
            stream.readers.append(_first_conv(path, f"{name}.downsample"))
            yield stream
            source = _last_conv(path, f"{name}.downsample")
            stream = _Stream(name=name.rpartition(".")[0], sources=[source])
        stream.sources.append(f"{name}.{block.convolutions[-1]}")
        stream.places.append(name)
    yield stream


def _stream_group(stream: _Stream, path: ResidualPath, *, feeds_head: bool = False) -> ChannelGroup:
    return ChannelGroup(
        name=stream.name,
        channels=_conv(path, stream.sources[-1]).out_channels,
        outputs=tuple(axis for source in stream.sources for axis in _output_axes(path, source)),
        inputs=tuple(Axis(tensor=f"{reader}.weight", dim=1) for reader in stream.readers),
        activations=tuple(Activation(module=place) for place in stream.places),
        feeds_head=feeds_head,
    )


def _ends(last: _Stream, path: ResidualPath, *, hidden: int) -> Iterator[ChannelGroup]:
    """The last stream, and what X3D puts over it."""
    convolved = hasattr(path, "conv5")
    last.readers += ["path.conv5.conv"] if convolved else []
    yield _stream_group(last, path, feeds_head=not convolved)
    if convolved:
        wide = _Stream(name="path.conv5", sources=["path.conv5.conv"], places=["path.conv5"])
        wide.readers += ["fc1"] if hidden else []
        yield _stream_group(wide, path, feeds_head=not hidden)
    if hidden:
        yield ChannelGroup(
            name="fc1",
            channels=hidden,
            outputs=(Axis(tensor="fc1.weight"),),
            activations=(Activation(module="fc1"),),
            feeds_head=True,
        )


def _within(path: ResidualPath, root: str) -> Iterator[ChannelGroup]:
    """Runs of channels within blocks, and between the factors of stems and shortcuts."""
    for name, block in _blocks(path, root):
        run = [f"{name}.{block.convolutions[0]}"]
        for conv in (f"{name}.{own}" for own in block.convolutions[1:]):
            if _conv(path, conv, root).groups > 1:
                run.append(conv)
                continue
            yield _run_group(path, root, run, conv, block)
            run = [conv]
    inner = {f"{name}.{conv}" for name, block in _blocks(path, root) for conv in block.convolutions}
    for name, module in path.named_modules(prefix=root):
        if isinstance(module, Factored) and f"{name}.conv_s" not in inner:
            yield _run_group(path, root, [f"{name}.conv_s"], f"{name}.conv_t")


def _run_group(path: ResidualPath, root: str, run: list[str], reader: str, block: Block | None = None) -> ChannelGroup:
    squeezed = isinstance(block, X3DBlock) and isinstance(block.se_module, SqueezeExcitation)
    squeeze = reader.removesuffix("conv3.conv") + "se_module"
    return ChannelGroup(
        name=run[0],
        channels=_conv(path, run[0], root).out_channels,
        outputs=(
            *(axis for conv in run for axis in _output_axes(path, conv, root)),
            *((Axis(tensor=f"{squeeze}.fc2.weight"), Axis(tensor=f"{squeeze}.fc2.bias")) if squeezed else ()),
        ),
        inputs=(
            Axis(tensor=f"{reader}.weight", dim=1),
            *((Axis(tensor=f"{squeeze}.fc1.weight", dim=1),) if squeezed else ()),
        ),
        activations=(
            *((Activation(module=squeeze, before=True),) if squeezed else ()),
            Activation(module=reader, before=True),
        ),
    )


def _blocks(path: ResidualPath, root: str) -> Iterator[tuple[str, Block]]:
    for stage in range(1, len(path.widths) + 1):
        for place, block in path.get_submodule(f"layer{stage}").named_children():
            assert isinstance(block, Block)
            yield f"{root}.layer{stage}.{place}", block


def _conv(path: ResidualPath, name: str, root: str = "path") -> nn.Conv3d:
    conv = path.get_submodule(name.removeprefix(f"{root}."))
    assert isinstance(conv, nn.Conv3d)
    return conv


def _output_axes(path: ResidualPath, conv: str, root: str = "path") -> Iterator[Axis]:
    """A convolution's outputs, and those of the norm that follows it, if one does."""
    yield Axis(tensor=f"{conv}.weight")
    owner, _, own = conv.rpartition(".")
    norm = {"conv_s": f"{owner}.bn_s", "conv_t": f"{owner.rpartition('.')[0]}.bn"}.get(own, f"{owner}.bn")
    modules = dict(path.named_modules(prefix=root))
    if norm in modules:
        yield from (Axis(tensor=f"{norm}.{part}") for part, t in modules[norm].state_dict().items() if t.ndim)


def _first_conv(path: ResidualPath, name: str) -> str:
    return next(key for key in _convs(path, name))


def _last_conv(path: ResidualPath, name: str) -> str:
    return _convs(path, name)[-1]


def _convs(path: ResidualPath, name: str) -> list[str]:
    module = path.get_submodule(name.removeprefix("path."))
    return [key for key, found in module.named_modules(prefix=name) if isinstance(found, nn.Conv3d)]
