"""How good the scores are, and the calibration that makes them probabilities."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from consistency.postprocess import Platt

Floats: TypeAlias = NDArray[np.float64]


def auc(score: Floats, late: Floats) -> float:
    """Return the area under the ROC curve; ties count half.

    Source: Mann and Whitney (1947), the U statistic over the product of the group sizes.

    >>> auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0.0, 0.0, 1.0, 1.0]))
    0.75

    Args:
        score: shape (N,), no NaN.
        late: labels 0.0 or 1.0, both present, shape (N,).
    """
    _, group, sizes = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(sizes) - (sizes - 1) / 2)[group]
    positives = late.sum()
    above = rank[late == 1.0].sum() - positives * (positives + 1) / 2
    return float(above / (positives * (len(late) - positives)))


def log_loss(probability: Floats, late: Floats) -> float:
    """Return the mean negative log-likelihood of the labels, in nats.

    >>> round(log_loss(np.array([0.5, 0.5]), np.array([0.0, 1.0])), 4)
    0.6931
    """
    return float(-np.mean(np.where(late == 1.0, np.log(probability), np.log1p(-probability))))


def fit_platt(probability: Floats, late: Floats) -> Platt:
    """Return the Platt scaling with the least log loss, by Newton's method.

    Args:
        probability: raw probabilities strictly between 0 and 1, shape (N,).
        late: labels 0.0 or 1.0, shape (N,).
    """
    logit = np.log(probability) - np.log1p(-probability)
    design = np.column_stack([logit, np.ones_like(logit)])
    weights = np.array([1.0, 0.0])
    for _ in range(20):
        p = 1.0 / (1.0 + np.exp(-design @ weights))
        hessian = design.T @ (design * (p * (1.0 - p))[:, None])
        weights -= np.linalg.solve(hessian, design.T @ (p - late))
    return Platt(slope=float(weights[0]), intercept=float(weights[1]))
