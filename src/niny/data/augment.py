"""The data augmentation of section 4.2: translation and horizontal flipping, of a whole batch on its own device.

The paper gives no amounts. The authors' code has 4 pixels of zero padding, a random crop of the original size, and a
flip with probability one half; the padding surrounds the preprocessed image, so that zero is the data's mean.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def translate_and_flip(images: Tensor, pad: int, generator: torch.Generator) -> Tensor:
    """Shift each image by up to `pad` pixels either way, filling with zeros, and mirror half of them.

    `images` [N,C,H,W] of any type; `generator` on the same device, which decides everything. Returns a new tensor of
    the same shape, type and memory format.
    """
    n, channels, height, width = images.shape
    device = images.device
    top, left = torch.randint(2 * pad + 1, (2, n, 1), generator=generator, device=device)
    flip = torch.randint(2, (n, 1), generator=generator, device=device)
    rows = top + torch.arange(height, device=device)
    across = torch.arange(width, device=device)
    columns = left + torch.where(flip == 1, width - 1 - across, across)
    padded = F.pad(images.permute(0, 2, 3, 1), (0, 0, pad, pad, pad, pad))
    first = torch.arange(n, device=device)[:, None, None] * padded.shape[1]
    pixels = (first + rows[:, :, None]) * padded.shape[2] + columns[:, None, :]
    picked = padded.reshape(-1, channels).index_select(0, pixels.flatten())
    channels_last = images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()
    return (
        picked.view(n, height, width, channels)
        .permute(0, 3, 1, 2)
        .contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    )
