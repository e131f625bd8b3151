"""`cbir-export`: backbones to ONNX files."""

from pathlib import Path
from typing import Annotated

import typer

from cbir import terminal
from cbir.errors import UsageError

from .zoo import BACKBONES

app = terminal.new_app("Turn backbones into self-describing ONNX files.")


@app.command("list")
def list_backbones() -> None:
    """List the backbones that can be built."""
    for backbone in BACKBONES.values():
        typer.echo(f"{backbone.name}  {backbone.timm_name}  {backbone.weights.package}  {backbone.license}")


@app.command()
def build(
    name: Annotated[str, typer.Argument(help="Backbone, as in `cbir-export list`.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write. (default: NAME.onnx)")] = None,
    precision: Annotated[str, typer.Option(help="How weights are stored: fp16 or fp32.")] = "fp16",
) -> None:
    """Export a backbone, verify the file against torch on 64 pictures of the sample, and write it."""
    backbone = BACKBONES.get(name)
    if backbone is None:
        raise UsageError(f"no backbone {name!r}; there are: {', '.join(BACKBONES)}")
    if precision not in ("fp16", "fp32"):
        raise UsageError(f"no precision {precision!r}; there are fp16 and fp32")
    try:
        from .build import build_model
    except ImportError as error:
        raise UsageError(f"exporting needs the package {error.name}: pip install 'cbir[export]'") from None
    path = output or Path(f"{name}.onnx")
    if not path.parent.is_dir() or path.is_dir():
        raise UsageError(f"cannot write {path}: its folder does not exist, or it is a folder itself")
    cosine = build_model(backbone, path, "fp16" if precision == "fp16" else "fp32")
    typer.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB, lowest cosine to torch {cosine:.6f}")


def main() -> None:
    """Run the command line."""
    terminal.run(app)


if __name__ == "__main__":
    main()
