"""The embedder: a loaded model that turns images, and with a text tower texts, into unit vectors."""

import logging
import threading
from collections.abc import Iterable
from contextlib import nullcontext
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from cbir.devices import Device, DeviceChoice
from cbir.errors import ImageError, UsageError
from cbir.images.decode import PREPROCESSING_VERSION, decode
from cbir.images.inputs import ImageInput, require_list, to_rgb
from cbir.images.libraries import LIBRARIES
from cbir.images.preprocessing import Pixels
from cbir.models.card import ModelCard, ModelRef
from cbir.models.runtime import cores, open_session, other_devices
from cbir.models.sealed import DEFAULT_MODEL, checksum_of, find_model, read_card, read_sealed
from cbir.models.self_test import choose
from cbir.models.text_tower import TextTower, find_text_tower
from cbir.models.trial import require_safe
from cbir.records import Vector
from cbir.settings import MAX_MEGAPIXELS, Settings, default_cache
from cbir.text import one_line

_BATCH = 8

log = logging.getLogger(__name__)


class Embedder:
    """A loaded model that turns images into unit vectors.

    Several threads may call it at once. With `threads=1` this is also the fastest way to use several cores, since
    decoding then overlaps with the model.

    Example:
        >>> from PIL import Image
        >>> embedder = cbir.Embedder("efficientnet_lite0")
        >>> vectors = embedder.embed([Image.new("RGB", (64, 64), "red"), Image.new("RGB", (64, 64), "blue")])
        >>> vectors.shape, vectors.dtype
        ((2, 1280), dtype('float32'))

    Attributes:
        path: The model file.
        sha256: The file's checksum, which identifies the model.
        card: The model's description.
        device: The device that runs it.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        *,
        threads: int | None = None,
        device: DeviceChoice = "auto",
        cache: Path | None = None,
        text_model: Path | None = None,
    ):
        """Load a model.

        Args:
            model: The name of a packaged file (`efficientnet_lite0` in fp32, `efficientnet_lite0-int8`), or the path of
                one that `cbir-export` made. `Collection.embedder` has the one that made a collection's vectors.
            threads: Number of threads for each call of `run`; None for all cores.
            device: "cpu", "openvino", "openvino-bf16", "cuda", "tensorrt", "coreml", "directml", or "auto": the fastest
                that gives the same vectors.
            cache: The folder that records which files passed the trial run and which device is the fastest; None for
                the user's cache folder.
            text_model: The file of its text tower; None for the one next to the model file, or a packaged one. It is
                loaded when a text is embedded.

        Raises:
            UsageError: There is no such model or device, the file is not a model file of cbir, or it does not pass the
                trial run.
            CbirError: The file is damaged.
        """
        import onnxruntime

        self.path = model if isinstance(model, Path) else find_model(model)
        data = read_sealed(self.path)
        self.sha256 = checksum_of(data)
        threads = threads or cores()
        cache = cache or default_cache()
        self._text_model, self._threads, self._cache = text_model, threads, cache
        self._text_tower: TextTower | None = None
        self._loading = threading.Lock()
        require_safe(self.path, data, self.sha256, cache)
        try:
            self._session = open_session(data, "cpu" if device == "auto" else device, threads, cache)
        except UsageError:
            raise
        except Exception as error:  # onnxruntime's errors share no base class
            raise UsageError(f"{self.path} is not a model that onnxruntime can load: {one_line(error)[:300]}") from None
        self.card: ModelCard = read_card(self.path, self._session)
        if device == "auto":
            device = choose({self.card.arithmetic: data}, other_devices(), threads, cache).device
            try:
                self._session = self._session if device == "cpu" else open_session(data, device, threads, cache)
            except Exception as error:  # its driver may be gone since the self-test
                log.warning("warning: the cpu is used, because %s failed: %s", device, one_line(error)[:300])
                device = "cpu"
        self.device: Device = device
        self._turn = threading.Lock() if device == "directml" else nullcontext()  # it runs one batch at a time
        self._run_options = onnxruntime.RunOptions()
        if self.card.preprocessing != PREPROCESSING_VERSION:
            raise UsageError(
                f"{self.path} was made for preprocessing version {self.card.preprocessing}, and this cbir has version"
                f" {PREPROCESSING_VERSION}. Make it again with cbir-export build."
            )

    @property
    def ref(self) -> ModelRef:
        """What collections record about the model that made their vectors."""
        card = self.card
        facts = (card.name, self.sha256, card.dimension, card.preprocessing, card.random_weights)
        return ModelRef(*facts, card.arithmetic, LIBRARIES)

    def embed(self, images: Iterable[ImageInput], *, max_megapixels: float = MAX_MEGAPIXELS) -> Vector:
        """Return the unit vectors, float32 (n, D), of images: paths, bytes, PIL images or uint8 arrays.

        Example:
            >>> from pathlib import Path
            >>> embedder = cbir.Embedder()
            >>> first, second = embedder.embed(["query.png", Path("query.png").read_bytes()])
            >>> round(float(first @ second), 3)
            1.0

        Raises:
            UsageError: There is no such file, or the argument is not a list of images.
            ImageError: An image cannot be used.
        """
        require_list(images)
        stream = iter(images)
        batches = [np.empty((0, self.card.dimension), np.float32)]
        while batch := list(islice(stream, _BATCH)):
            pixels = [self.pixels(to_rgb(image, self.shortest, max_megapixels)) for image in batch]
            vectors = self.run(np.stack(pixels))
            if not np.isfinite(vectors).all():
                raise ImageError("the model gave no finite vector")
            batches.append(vectors)
        return np.concatenate(batches)

    def embed_text(self, texts: Iterable[str]) -> Vector:
        """Return the unit vectors, float32 (n, D), of texts, to compare with those of images.

        Example:
            >>> embedder = cbir.Embedder("efficientnet_lite0")
            >>> words = embedder.embed_text(["red heart", "train"])
            >>> words.shape, words.dtype
            ((2, 1280), dtype('float32'))

        Raises:
            UsageError: The model has no text tower, or a text is empty or too long.
        """
        if isinstance(texts, str):
            raise UsageError("a list of texts is needed, also for a single text: [text]")
        return self.text_tower.embed(texts)

    @property
    def text_tower(self) -> TextTower:
        """The model's text tower, loaded at the first use. Raises `UsageError` if there is none.

        Example:
            >>> embedder = cbir.Embedder("efficientnet_lite0")
            >>> embedder.text_tower.card.license
            'Apache-2.0'
        """
        with self._loading:
            if self._text_tower is None:
                path = find_text_tower(self.path, self.card.name, self.sha256, self._text_model)
                self._text_tower = TextTower(path, self._threads, self._cache)
            return self._text_tower

    @property
    def shortest(self) -> int:
        """The `shortest` to decode JPEGs with, in pixels: twice what the model needs."""
        return 2 * self.card.input.resize

    def decode(self, data: bytes, max_megapixels: float) -> Image.Image:
        """Return an image file decoded for this model: upright, RGB, a large JPEG at a fraction of its size.

        Example:
            >>> from pathlib import Path
            >>> embedder = cbir.Embedder()
            >>> embedder.decode(Path("query.png").read_bytes(), max_megapixels=40).mode
            'RGB'

        Raises:
            ImageError: The image cannot be used.
        """
        return decode(data, shortest=self.shortest, max_megapixels=max_megapixels)

    def pixels(self, image: Image.Image) -> Pixels:
        """Return the model's input for an image, uint8 (H, W, 3), by the rule in the model's card.

        Example:
            >>> from PIL import Image
            >>> embedder = cbir.Embedder()
            >>> embedder.pixels(Image.new("RGB", (640, 480))).shape
            (224, 224, 3)
        """
        return self.card.input.pixels(image)

    def run(self, pixels: Pixels) -> Vector:
        """Return the unit vectors, float32 (N, D), of uint8 pixels (N, H, W, 3); a failed row is NaN.

        Example:
            >>> import numpy as np
            >>> embedder = cbir.Embedder()
            >>> embedder.run(np.zeros((2, 224, 224, 3), np.uint8)).shape
            (2, 1280)
        """
        with self._turn:
            return self._session.run(None, {"images": pixels}, self._run_options)[0]  # type: ignore[no-any-return]

    def stop(self) -> None:
        """Cancel all runs, including those in other threads. Cannot be undone.

        Example:
            >>> embedder = cbir.Embedder()
            >>> embedder.stop()  # from another thread, or a signal handler
        """
        self._run_options.terminate = True


def load_embedder(model: str | Path, settings: Settings, threads: int | None = None) -> Embedder:
    """Return the embedder of a model, with the device, the cache and the text tower of the settings."""
    text_model = settings.text_model
    return Embedder(model, threads=threads, device=settings.device, cache=settings.cache, text_model=text_model)
