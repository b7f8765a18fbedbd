"""Networks whose every number is random."""

from __future__ import annotations

import torch


def shaken(module: torch.nn.Module) -> torch.nn.Module:
    """All parameters and statistics random, so that nothing is hidden by a zero at the start."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(torch.randn_like(buffer))
            if name.endswith("running_var"):
                buffer.copy_(torch.rand_like(buffer) + 0.1)
    return module.eval()
