"""What a radiologist would write about a simulated film: sentences about what is there, and about what is not."""

from dataclasses import dataclass

import numpy as np

from fedward_core.arrays import Array


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a film shows; N of them.

    Attributes:
        findings: (N, 3), whether there is an opacity, an effusion, a nodule.
        strength: (N,), how marked they are, in [0, 1].
        side: (N,), the side of opacity and effusion, -1 for the patient's right; a nodule lies on the other one.
        height: (N,), the height of an opacity, from about -0.5 at the top of the lung to 0.3.
    """

    findings: Array
    strength: Array
    side: Array
    height: Array


def write_reports(seen: Seen, rng: np.random.Generator) -> Array:
    """(N,), a text for each film, its sentences in an order of their own."""
    texts = [_write(seen, index, rng) for index in range(len(seen.findings))]
    return np.array(texts)


def _write(seen: Seen, index: int, rng: np.random.Generator) -> str:
    opacity, effusion, nodule = map(bool, seen.findings[index])
    side, other = ("right", "left") if seen.side[index] < 0 else ("left", "right")
    marked = seen.strength[index] > 0.5
    sentences = [
        _opacity(side, seen.height[index], marked, rng) if opacity else _one(rng, *NO_OPACITY),
        _one(rng, *LARGE_EFFUSION if marked else SMALL_EFFUSION).format(side) if effusion else _one(rng, *NO_EFFUSION),
    ]
    if nodule:
        sentences.append(_one(rng, *NODULE).format(other))
    if not opacity and not effusion and not nodule:
        sentences.append(_one(rng, *NOTHING))
    return " ".join(sentences[place] for place in rng.permutation(len(sentences)))


def _opacity(side: str, height: float, marked: bool, rng: np.random.Generator) -> str:
    zone = "upper" if height < -0.2 else "middle" if height < 0.05 else "lower"
    return _one(rng, *OPACITY).format("marked" if marked else "faint", side, zone)


def _one(rng: np.random.Generator, *sentences: str) -> str:
    return sentences[int(rng.integers(len(sentences)))]


OPACITY = (
    "There is {} patchy opacity in the {} {} zone, consistent with pneumonia.",
    "A {} consolidation is seen in the {} lung, {} zone.",
)
NO_OPACITY = ("No focal consolidation.", "No sign of pneumonia.")
SMALL_EFFUSION = ("There is a small {} pleural effusion.", "Slight blunting of the {} costophrenic angle.")
LARGE_EFFUSION = ("There is a large {} pleural effusion.", "Extensive fluid at the base of the {} lung.")
NO_EFFUSION = ("No pleural effusion.", "The costophrenic angles are clear.")
NODULE = ("A round nodule projects over the {} lung.", "There is a solitary nodule on the {}.")
NOTHING = ("Normal chest.", "The lungs are clear.")
