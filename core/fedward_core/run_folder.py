"""The folder of a run: the names by which whoever carries a run out and whoever reads it agree.

<out>/run.json                              which run it is, and how it stands
<out>/spec.yaml                             the spec with all its defaults
<out>/cards.json                            the dataset cards of its sites, see :mod:`fedward_core.cards`
<out>/events.jsonl                          what happened, one event a line
<out>/stages/<stage>/final.safetensors      the whole weights at the end of a stage
<out>/stages/<stage>/best.safetensors       those after the best evaluated round, if the spec says what is best
"""

from pathlib import Path

RECORD, SPEC, EVENTS = "run.json", "spec.yaml", "events.jsonl"
STAGES, FINAL, BEST = "stages", "final.safetensors", "best.safetensors"


def stage_folder(out: Path, stage: str) -> Path:
    """Where the files of a stage lie."""
    return out / STAGES / stage


def final_weights(out: Path, stage: str) -> Path:
    """The whole weights at the end of a stage."""
    return stage_folder(out, stage) / FINAL


def best_weights(out: Path, stage: str) -> Path:
    """The whole weights after the best evaluated round of a stage."""
    return stage_folder(out, stage) / BEST
