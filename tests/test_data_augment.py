import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from niny.data.augment import translate_and_flip


def every_outcome(image: Tensor, pad: int) -> list[Tensor]:
    """All crops of the padded image [C,H,W], and their mirror images, by plain slicing."""
    _, height, width = image.shape
    padded = F.pad(image, (pad, pad, pad, pad))
    crops = [padded[:, y : y + height, x : x + width] for y in range(2 * pad + 1) for x in range(2 * pad + 1)]
    return crops + [crop.flip(2) for crop in crops]


def outcome(result: Tensor, outcomes: list[Tensor]) -> int:
    (found,) = [i for i, candidate in enumerate(outcomes) if torch.equal(candidate, result)]
    return found


def test_each_output_is_one_crop_of_its_own_image_and_all_crops_are_equally_likely() -> None:
    image = torch.arange(1, 2 * 3 * 5 + 1).view(2, 3, 5)
    outcomes = every_outcome(image, 1)
    n = 9000
    results = translate_and_flip(image.expand(n, -1, -1, -1), 1, torch.Generator().manual_seed(0))
    counts = torch.bincount(torch.tensor([outcome(r, outcomes) for r in results]), minlength=18)
    assert len(outcomes) == 18
    assert (counts - n / 18).abs().max() < 5 * (n / 18) ** 0.5


def test_images_of_a_batch_do_not_mix_and_move_independently() -> None:
    images = torch.rand(64, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    results = translate_and_flip(images, 4, torch.Generator().manual_seed(2))
    moves = [outcome(r, every_outcome(image, 4)) for image, r in zip(images, results, strict=True)]
    assert len(set(moves)) > 32


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_type_and_memory_format_are_kept(dtype: torch.dtype, layout: torch.memory_format) -> None:
    images = torch.randint(256, (4, 3, 8, 8)).to(dtype).contiguous(memory_format=layout)
    result = translate_and_flip(images, 2, torch.Generator().manual_seed(0))
    assert result.dtype == dtype
    assert result.is_contiguous(memory_format=layout)
    plain = translate_and_flip(images.contiguous(), 2, torch.Generator().manual_seed(0))
    assert torch.equal(result, plain)


def test_the_generator_alone_decides() -> None:
    images = torch.rand(16, 1, 8, 8)
    before = images.clone()
    first, again, other = (translate_and_flip(images, 4, torch.Generator().manual_seed(s)) for s in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(images, before)


def test_without_padding_images_are_only_mirrored() -> None:
    images = torch.rand(32, 1, 4, 4)
    results = translate_and_flip(images, 0, torch.Generator().manual_seed(0))
    mirrored = [torch.equal(r, i.flip(2)) for i, r in zip(images, results, strict=True)]
    assert all(m or torch.equal(r, i) for i, r, m in zip(images, results, mirrored, strict=True))
    assert 0 < sum(mirrored) < 32
