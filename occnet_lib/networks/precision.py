"""What a device computes fast."""

from __future__ import annotations

import torch


def has_fast_bf16(device: str) -> bool:
    """Whether the hardware of a kind of device ("cpu", "cuda") multiplies bfloat16, and faster than float32."""
    if device == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)  # older ones emulate it
    # torch has no public test for processors; where this one went, be safe.
    tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, test, bool)() for test in tests)
