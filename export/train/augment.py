"""Random changes of a whole batch of images at a time: crop, flip, turn, colours, and a rectangle that is erased."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import affine_grid, grid_sample

Images = TypeVar("Images", torch.Tensor, npt.NDArray[np.uint8])

_GREY = (0.299, 0.587, 0.114)
_RATIO = 4 / 3
_ERASED = (0.1, 0.4)


@dataclass(frozen=True)
class Augmentation:
    """How far an image may change.

    Attributes:
        area: The smallest share of the image that a crop keeps. Its proportions change by up to 4:3.
        degrees: The largest turn to either side.
        colour: The largest relative change of brightness, contrast and saturation.
        erased: The share of the images of which a rectangle becomes grey, a tenth to four tenths of the side long.
    """

    area: float
    degrees: float = 0.0
    colour: float = 0.0
    erased: float = 0.0


AUGMENTATIONS: Mapping[str, Augmentation | None] = MappingProxyType(
    {
        "none": None,
        "light": Augmentation(area=0.6, colour=0.1),
        "strong": Augmentation(area=0.35, degrees=10, colour=0.3, erased=0.25),
    }
)
"""Each flips half of the images, besides `none`. `light` suits inputs of up to about a hundred pixels."""


def augment(pixels: torch.Tensor, size: int, how: Augmentation | None, generator: torch.Generator) -> torch.Tensor:
    """Return float planes (B, 3, size, size) from 0 to 255 for uint8 pixels (B, side, side, 3).

    Without augmentation they are the pixels at the centre. The random numbers come from `generator`, on the CPU, so
    they are the same on every device.
    """
    if how is None:
        return centre(pixels, size).permute(0, 3, 1, 2).float()
    planes = pixels.permute(0, 3, 1, 2)
    count = len(planes)

    def uniform(low: float, high: float) -> torch.Tensor:
        return (low + (high - low) * torch.rand(count, generator=generator)).to(planes.device)

    area, ratio = uniform(how.area, 1), uniform(-math.log(_RATIO), math.log(_RATIO)).exp()
    width, height = (area * ratio).sqrt().clamp_max(1), (area / ratio).sqrt().clamp_max(1)
    x, y = uniform(-1, 1) * (1 - width), uniform(-1, 1) * (1 - height)
    angle, flip = uniform(-1, 1) * math.radians(how.degrees), uniform(-1, 1).sign()
    sine, cosine = angle.sin(), angle.cos()
    rows = [width * cosine * flip, -height * sine, x, width * sine * flip, height * cosine, y]
    grid = affine_grid(torch.stack(rows, dim=1).view(count, 2, 3), [count, 3, size, size], align_corners=False)
    planes = grid_sample(planes.float(), grid, padding_mode="border", align_corners=False)
    planes = _recoloured(planes, *(1 + how.colour * uniform(-1, 1) for _ in range(3)))
    if how.erased:
        erased, (low, high) = uniform(0, 1) < how.erased, _ERASED
        centres, halves = [uniform(0, 1), uniform(0, 1)], [uniform(low, high) / 2, uniform(low, high) / 2]
        places = (torch.arange(size, device=planes.device) + 0.5) / size
        across, down = ((places - a[:, None]).abs() < b[:, None] for a, b in zip(centres, halves, strict=True))
        hidden = erased[:, None, None] & down[:, :, None] & across[:, None, :]
        planes = planes.masked_fill(hidden[:, None], 127.5)
    return planes


def centre(pixels: Images, size: int) -> Images:
    """Return the pixels (B, size, size, 3) at the centre of pixels (B, side, side, 3), which is the model's input."""
    margin = round((pixels.shape[1] - size) / 2)  # as `InputRule` rounds
    return pixels[:, margin : margin + size, margin : margin + size]


def _recoloured(
    planes: torch.Tensor, brightness: torch.Tensor, contrast: torch.Tensor, saturation: torch.Tensor
) -> torch.Tensor:
    """Return the planes with each image's brightness, contrast and saturation multiplied by factors (B,)."""
    weights = torch.tensor(_GREY, device=planes.device).view(1, 3, 1, 1)
    grey = (planes * weights).sum(dim=1, keepdim=True)
    mean = grey.mean(dim=(2, 3), keepdim=True)
    brightness, contrast, saturation = (factor.view(-1, 1, 1, 1) for factor in (brightness, contrast, saturation))
    planes = grey + (planes - grey) * saturation
    return ((mean + (planes - mean) * contrast) * brightness).clamp(0, 255)
