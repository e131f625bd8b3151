"""An image made of nothing but arithmetic, for golden vectors."""

import io

import numpy as np
from PIL import Image


def golden_image() -> bytes:
    """Return a 317 x 241 PNG with colours, edges and texture."""
    y, x = np.mgrid[0:241, 0:317].astype(np.float64)
    planes = [
        127 + 120 * np.sin(x / 23) * np.cos(y / 31),
        255 * ((x // 40 + y // 30) % 2),
        np.hypot(x - 158, y - 120) % 256,
    ]
    buffer = io.BytesIO()
    Image.fromarray(np.stack(planes, axis=-1).clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()
