"""The one place that reduces per-example losses over the batch, accumulation steps and workers.

Every mean is taken over the rows of the whole optimiser step: a micro-batch contributes sum(loss_B) / rows_in_step. So
the gradient does not depend on how the rows of a step are split over accumulation steps and workers.
"""

from collections.abc import Mapping

from torch import Tensor


def batch_means(losses: Mapping[str, Tensor], weights: Mapping[str, Tensor], step_rows: Mapping[str, int]) -> dict[str, Tensor]:
    """This micro-batch's share of each stream's mean over the step, as scalars.

    losses: stream to per-example loss, shape B. weights: stream to the rows' weights, shape B (0.0 for filler rows that
    only complete a micro-batch's shape). step_rows: stream to the number of real rows in the whole step.
    Summed over all micro-batches and workers of the step the shares give the means.
    """
    return {
        name: loss_B.masked_fill(weights[name] == 0, 0.0).mul(weights[name]).sum() / max(step_rows[name], 1)
        for name, loss_B in losses.items()
    }


def total_loss(means: Mapping[str, Tensor], alpha: float) -> Tensor:
    """alpha * align + (1 - alpha) * retain; the retain term alone where there is no alignment term."""
    if "align" not in means:
        return means["retain"]
    return alpha * means["align"] + (1.0 - alpha) * means["retain"]
