"""A model as an ONNX graph, which ONNX Runtime has to agree with before it counts."""

import importlib.util
from pathlib import Path

import torch
from torch.export import ExportedProgram

from fedward_core.errors import SpecError
from fedward_models.export.network import INPUT, OUTPUT, check_equal, examples, traced
from fedward_models.inference.finished_model import FinishedModel

_NEEDED = ("onnx", "onnxruntime", "onnxscript")


def write_onnx(model: FinishedModel, folder: Path, description: dict[str, object]) -> None:
    """Write ``model.onnx``, for any number of images, and check it for one and for several.

    Args:
        model: The model.
        folder: Where.
        description: Its digest of the spec is stored in the graph.

    Raises:
        CheckpointError: ONNX Runtime predicts something else.
        SpecError: The model is no graph, or none that ONNX can hold; it names no classes, or the extra ``export`` is
            missing.
    """
    _check_installed()
    program = _translated(traced(model))
    program.model.metadata_props["fedward.spec_digest"] = str(description["spec_digest"])
    path = folder / "model.onnx"
    program.save(path, external_data=False)
    _check(model, path)


def _translated(graph: ExportedProgram) -> torch.onnx.ONNXProgram:
    try:
        program = torch.onnx.export(graph, input_names=[INPUT], output_names=[OUTPUT], dynamo=True, verbose=False)
    except torch.onnx.OnnxExporterError as error:
        raise SpecError(
            "the network takes a step that ONNX does not have: take it home as a MONAI bundle or as safetensors"
        ) from error
    assert program is not None
    return program


def _check(model: FinishedModel, path: Path) -> None:
    import onnxruntime  # noqa: PLC0415 - an extra that other formats do without

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, 5):
        images = examples(model, count)
        with torch.no_grad():
            ours = model.method.predict(images)
        check_equal(ours, session.run([OUTPUT], {INPUT: images.numpy()})[0], where="ONNX Runtime")


def _check_installed() -> None:
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise SpecError(f"exporting to ONNX needs {', '.join(missing)}: install the extra 'export' of fedward")
