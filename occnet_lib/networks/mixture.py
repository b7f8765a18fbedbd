"""Mean probability of fields: one image under several hypotheses of its camera."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from .folded import TorchField


class MixtureField(TorchField):
    """The logit of the weighted mean of fields' probabilities.

    Not the mean of logits (`MeanField`): of hypotheses that exclude each other the one that is certain that a point is free
    must not outvote those in which it may be occupied.

    Args:
        fields: at least one.
        weights: of each, sum 1.
    """

    def __init__(self, fields: Sequence[TorchField], weights: Sequence[float]) -> None:
        self._fields, self.device = fields, fields[0].device
        self._log_weights = torch.tensor(weights, dtype=torch.float32, device=self.device).log()[:, None]

    def __call__(self, points: Tensor, *, low_precision: bool = False) -> Tensor:
        """Logits (N,), see `TorchField`."""
        return self._mixed([field(points, low_precision=low_precision) for field in self._fields])[0]

    @cached_property
    def margin(self) -> float | None:
        """The largest one of the fields: the derivatives of the mixture's logit are positive, their sum is at most 1."""
        margins = [field.margin for field in self._fields]
        return None if None in margins else max(margin for margin in margins if margin is not None)

    def with_gradient(self, points: Tensor, *, low_precision: bool = False) -> tuple[Tensor, Tensor]:
        """Logits and gradients; for points that require a gradient the weights of the fields count as constant."""
        results = [field.with_gradient(points, low_precision=low_precision) for field in self._fields]
        mixed, parts = self._mixed([logits.detach() for logits, _ in results])
        gradients = torch.stack([gradient for _, gradient in results])
        return mixed, (parts.unsqueeze(-1) * gradients).sum(0)

    def _mixed(self, logits: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits (N,) of the mean probability, and its derivatives (K, N) with respect to the fields' logits."""
        inside, outside = logsigmoid(torch.stack(list(logits))), logsigmoid(-torch.stack(list(logits)))
        log_p = (self._log_weights + inside).logsumexp(0)
        log_q = (self._log_weights + outside).logsumexp(0)
        return log_p - log_q, (self._log_weights + inside + outside - log_p - log_q).exp()
