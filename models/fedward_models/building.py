"""From names in a spec to a method with its network, the same at every site and on the server's side."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fedward_core.cards import Contract
from fedward_core.errors import SpecError
from fedward_core.manifest import Entry, Kind, Manifest
from fedward_core.seeds import derive_seed
from fedward_core.spec import Spec
from fedward_models.method import Method
from fedward_models.programs.memory import Weighed


def build_method(spec: Spec, stage: int, contract: Contract) -> Method:
    """Build the method of a stage with its backbone, initialised from the seed of the run and the stage alone.

    Args:
        spec: The run.
        stage: The index of the stage.
        contract: What the sites agree on: classes, channels.

    Raises:
        SpecError: The stage has no backbone, or its parts do not fit each other.
        MemoryError: The network would take more than half of this machine's memory.
    """
    config = spec.backbone_of(stage)
    if config is None:
        raise SpecError(f"stage '{spec.stages[stage].name}' has no backbone: name one")
    with seeded(derive_seed(spec.seed, "initial", stage)), Weighed():
        backbone = config.build(image_px=spec.dataset.image_px, channels=contract.channels)
        method = spec.stages[stage].method.build(backbone=backbone, contract=contract)
    assert isinstance(method, Method)
    return method


def manifest_of(method: Method) -> Manifest:
    """The names, shapes, types and kinds of a method's state; parameters that are not trained count as buffers."""
    trained = {name for name, parameter in method.named_parameters() if parameter.requires_grad}
    return Manifest(entries=tuple(_entry(name, tensor, trained) for name, tensor in method.state_dict().items()))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from the global CPU generator as seeded, and give it back as it was."""
    before = torch.get_rng_state()
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)


def _entry(name: str, tensor: torch.Tensor, trained: set[str]) -> Entry:
    kind = Kind.PARAMETER if name in trained else Kind.BUFFER if tensor.dtype.is_floating_point else Kind.COUNTER
    dtype = torch.empty((), dtype=tensor.dtype).numpy().dtype.str  # also of what lies on a GPU
    return Entry(name=name, shape=tuple(tensor.shape), dtype=dtype, kind=kind)
