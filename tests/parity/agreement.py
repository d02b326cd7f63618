"""How far an array is from its reference."""

import numpy as np


def relative_error(ours, reference) -> float:
    """The larger of two: the difference's Euclidean norm, and its largest element, each over the reference's."""
    ours, reference = np.asarray(ours, np.float64), np.asarray(reference, np.float64)
    difference = np.abs(ours - reference).max() / np.abs(reference).max()
    return float(max(norm_error(ours, reference), difference))


def norm_error(ours, reference) -> float:
    """The difference's Euclidean norm over the reference's."""
    ours, reference = np.asarray(ours, np.float64), np.asarray(reference, np.float64)
    assert ours.shape == reference.shape
    return float(np.linalg.norm(ours - reference) / np.linalg.norm(reference))
