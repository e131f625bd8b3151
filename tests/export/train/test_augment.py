"""Random changes of a batch of images."""

import pytest

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")

from cbir.export.train.augment import AUGMENTATIONS, Augmentation, augment

pytestmark = pytest.mark.export


def ramp(count: int = 64, side: int = 20) -> "torch.Tensor":
    """Images that become brighter from the left to the right."""
    return torch.linspace(0, 200, side)[None, None, :, None].expand(count, side, side, 3).to(torch.uint8)


def generator(seed: int = 0) -> "torch.Generator":
    return torch.Generator().manual_seed(seed)


def test_without_augmentation_the_centre_is_taken() -> None:
    pixels = torch.randint(0, 256, (2, 20, 20, 3), dtype=torch.uint8)
    planes = augment(pixels, 16, AUGMENTATIONS["none"], generator())
    assert torch.equal(planes, pixels[:, 2:18, 2:18].permute(0, 3, 1, 2).float())


@pytest.mark.parametrize("name", ["light", "strong"])
def test_the_seed_decides_the_images(name: str) -> None:
    first, again, other = (augment(ramp(), 16, AUGMENTATIONS[name], generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (64, 3, 16, 16)
    assert first.min() >= 0
    assert first.max() <= 255


def test_half_of_the_images_are_flipped() -> None:
    planes = augment(ramp(400), 16, AUGMENTATIONS["light"], generator())
    brighter_right = (planes[..., -1] > planes[..., 0]).float().mean().item()
    assert 0.4 < brighter_right < 0.6


def test_a_crop_of_everything_is_the_image() -> None:
    pixels = ramp(8)
    planes = augment(pixels, 20, Augmentation(area=1.0), generator())
    upright = pixels.permute(0, 3, 1, 2).float()
    errors = torch.minimum((planes - upright).abs().amax((1, 2, 3)), (planes - upright.flip(3)).abs().amax((1, 2, 3)))
    assert errors.max() < 60  # its proportions change by up to a third
    assert errors.min() < 15


def test_only_strong_erases() -> None:
    white = torch.full((200, 20, 20, 3), 255, dtype=torch.uint8)
    grey = {name: augment(white, 16, AUGMENTATIONS[name], generator()) == 127.5 for name in ("light", "strong")}
    assert not grey["light"].any()
    assert 0.15 < grey["strong"].flatten(1).any(1).float().mean() < 0.35
