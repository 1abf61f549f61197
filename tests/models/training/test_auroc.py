import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from fedward_core.arrays import Array
from fedward_models.training.auroc import auroc

images = st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 3)), min_size=1, max_size=20)


def pair_by_pair(scores: Array, positive: Array, weights: Array) -> float:
    """Every positive against every negative image, one after the other."""
    won = pairs = 0.0
    for i in np.flatnonzero(positive):
        for j in np.flatnonzero(~positive):
            pairs += weights[i] * weights[j]
            won += weights[i] * weights[j] * ((scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j]))
    return float(won / pairs) if pairs else np.nan


@given(images)
def test_the_area_is_the_share_of_pairs_in_the_right_order(rows: list[tuple[int, bool, int]]) -> None:
    scores, positive, weights = (np.array(column) for column in zip(*rows, strict=True))
    area = auroc(weights[None].astype(float), scores=scores, positive=positive)
    np.testing.assert_allclose(area, [pair_by_pair(scores, positive, weights)], rtol=1e-12)


@pytest.mark.parametrize("distinct", [3, 1000], ids=["many ties", "few ties"])
def test_every_weighting_gives_the_area_of_scikit_learn(distinct: int) -> None:
    rng = np.random.default_rng(4)
    scores, positive = rng.integers(distinct, size=200) / distinct, rng.random(200) < 0.3
    weights = rng.integers(0, 4, size=(5, 200)).astype(float)
    expected = [roc_auc_score(positive, scores, sample_weight=row) for row in weights]
    np.testing.assert_allclose(auroc(weights, scores=scores, positive=positive), expected, rtol=1e-12)


def test_one_class_alone_has_no_area() -> None:
    assert np.isnan(auroc(np.ones((1, 3)), scores=np.arange(3), positive=np.ones(3, bool)))
