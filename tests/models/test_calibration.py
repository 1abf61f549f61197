"""Confidence is set beside accuracy, decision by decision."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fedward_core.arrays import Array
from fedward_core.cards import Task
from fedward_core.errors import SpecError
from fedward_models.inference.calibration import reliability


def slow_error(probabilities: Array, labels: Array, num_bins: int) -> float:
    total = 0.0
    for number in range(num_bins):
        low, high = number / num_bins, (number + 1) / num_bins
        inside = [
            (float(row.max()), float(row.argmax() == label))
            for row, label in zip(probabilities, labels, strict=True)
            if low < row.max() <= high or (number == 0 and row.max() == 0)
        ]
        if inside:
            confidence, right = np.mean(inside, axis=0)
            total += len(inside) * abs(confidence - right)
    return total / len(labels)


@given(
    st.integers(1, 9).flatmap(
        lambda n: st.tuples(
            arrays.arrays(np.float64, (n, 3), elements=st.floats(0, 0.97)),
            arrays.arrays(np.int64, n, elements=st.integers(0, 2)),
        )
    )
)
def test_the_error_is_that_of_an_obvious_loop(drawn: tuple[Array, Array]) -> None:
    found = reliability(*drawn, Task.CLASSIFICATION, num_bins=4).error
    assert found.n == len(drawn[1])
    assert found.value == pytest.approx(slow_error(*drawn, 4))


def test_a_model_that_is_sure_and_always_right_has_no_error_and_one_that_is_wrong_has_all() -> None:
    sure = np.eye(3)
    assert reliability(sure, np.arange(3), Task.CLASSIFICATION).error.value == 0
    assert reliability(sure, np.array([1, 2, 0]), Task.CLASSIFICATION).error.value == 1


def test_every_class_of_an_image_is_a_decision_of_its_own_for_multi_label() -> None:
    found = reliability(np.array([[0.9, 0.2]]), np.array([[1.0, 1.0]]), Task.MULTI_LABEL, num_bins=10)
    assert found.error.n == 2
    assert found.error.value == pytest.approx((abs(0.9 - 1) + abs(0.8 - 0)) / 2)


def test_pixels_have_no_confidence_here() -> None:
    with pytest.raises(SpecError, match="whole images"):
        reliability(np.ones((1, 2)), np.ones(1), Task.SEGMENTATION)
