"""Alignment of a predicted pose to its label before the error is measured (N- and P-MPJPE).

Pure functions over any leading axes. A joint whose label is NaN takes no part in the fit but is
carried along with the rest. The fit runs in float64; the result has the prediction's dtype.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["scale_aligned", "similarity_aligned"]

_TINY = torch.finfo(torch.float64).tiny


def scale_aligned(
    prediction: Float[Tensor, "*n j 3"], target: Float[Tensor, "*n j 3"]
) -> Float[Tensor, "*n j 3"]:
    """Returns each prediction times the one scale that brings it closest to its target.

    s = sum_j <p_j, t_j> / sum_j |p_j|^2, the least-squares scale, held at or above 0: a negative
    scale would be a point reflection. Both poses must already be root-relative, and the result is.
    A prediction that is all zeros, or a target without labels, gives zeros.

    Args:
        prediction: Root-relative joints, mm or any unit.
        target: Root-relative labels; NaN joints are ignored.

    >>> pose = torch.tensor([[0.0, 0.0, 0.0], [0.0, 3.0, 4.0]])
    >>> scale_aligned(2 * pose, pose)
    tensor([[0., 0., 0.],
            [0., 3., 4.]])
    """
    labelled = ~target.isnan().any(-1, keepdim=True)
    fitted = _keep(prediction.double(), labelled)
    wanted = _keep(target.double(), labelled)
    power = fitted.square().sum((-2, -1), keepdim=True).clamp_min(_TINY)
    scale = (fitted * wanted).sum((-2, -1), keepdim=True) / power
    return (scale.clamp_min(0) * prediction).to(prediction.dtype)


def similarity_aligned(
    prediction: Float[Tensor, "*n j 3"], target: Float[Tensor, "*n j 3"]
) -> Float[Tensor, "*n j 3"]:
    """Returns each prediction rotated, scaled and moved as close to its target as it gets.

    Least squares over scale s >= 0, rotation R and translation (Umeyama 1991). Reflections are
    excluded (det R = +1), so a mirrored pose keeps its error. Predictions that are a point, a line
    or a plane give finite results; a point lands on the centroid of the target's labels.

    Args:
        prediction: Joints in any frame and unit.
        target: Labels, in the frame and unit of the result; NaN joints are ignored. Without any
            label the result is finite and means nothing.
    """
    labelled = ~target.isnan().any(-1, keepdim=True)
    source, goal = prediction.double(), target.double()
    source_centre, goal_centre = _centroid(source, labelled), _centroid(goal, labelled)
    source = source - source_centre
    fitted, wanted = _keep(source, labelled), _keep(goal - goal_centre, labelled)
    rotation, stretch = _rotation(fitted.mT @ wanted)
    scale = stretch / fitted.square().sum((-2, -1)).clamp_min(_TINY)
    aligned = scale[..., None, None] * (source @ rotation) + goal_centre
    return aligned.to(prediction.dtype)


def _rotation(
    covariance: Float[Tensor, "*n 3 3"],
) -> tuple[Float[Tensor, "*n 3 3"], Float[Tensor, "*n"]]:
    """The proper rotation R that maximises trace(R^T covariance), and that trace.

    R acts on row vectors: `aligned = source @ R`.
    """
    # A prediction that is NaN or infinite must end as NaN in the metric, not as an error in here.
    finite = covariance.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    left, singular, right = torch.linalg.svd(finite)
    last = torch.linalg.det(left @ right).sign()
    signs = torch.stack([torch.ones_like(last), torch.ones_like(last), last], dim=-1)
    return (left * signs[..., None, :]) @ right, (singular * signs).sum(-1)


def _centroid(
    points: Float[Tensor, "*n j 3"], labelled: Bool[Tensor, "*n j 1"]
) -> Float[Tensor, "*n 1 3"]:
    """Mean of the labelled points; the origin where there is none."""
    count = labelled.sum(-2, keepdim=True).clamp_min(1)
    return _keep(points, labelled).sum(-2, keepdim=True) / count


def _keep(
    points: Float[Tensor, "*n j 3"], labelled: Bool[Tensor, "*n j 1"]
) -> Float[Tensor, "*n j 3"]:
    """The labelled points, zeros elsewhere (also where the other points are NaN)."""
    return points.where(labelled, torch.zeros_like(points))
