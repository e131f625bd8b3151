"""`cbir-export`: convert backbones to ONNX files, check them, and train them."""

from cbir import terminal

from .check.command import compare, table, verify
from .convert.command import build, join, quantize
from .options import needs_export
from .text.command import text_head
from .train.command import head, train

app = terminal.new_app("Convert backbones to self-describing ONNX files, check and compare them, and train them.")

RENAMED = {"finetune": "train"}

_BUILD, _CHECK, _TRAIN = "Build a model file", "Check model files", "Train for your own classes"
_COMMANDS = (
    (build, _BUILD, "cbir-export build resnet18 --precision int8"),
    (quantize, _BUILD, "cbir-export quantize efficientnet_lite0 -o fast.onnx"),
    (join, _BUILD, "cbir-export join efficientnet_lite0 squeezenet1_1.onnx -o both.onnx"),
    (verify, _CHECK, "cbir-export verify resnet18.onnx"),
    (compare, _CHECK, "cbir-export compare resnet18.onnx resnet18-int8.onnx --data ./photos"),
    (table, _CHECK, "cbir-export table resnet18 efficientnet_lite0 --folder models"),
    (head, _TRAIN, "cbir-export head resnet18.onnx ./photos -o mine.onnx"),
    (train, _TRAIN, "cbir-export train resnet18 ./photos --weights random --size 64 -o mine.onnx"),
    (text_head, _TRAIN, "cbir-export text-head efficientnet_lite0 ./shop.parquet --caption title"),
)


@app.command("list", rich_help_panel=_BUILD, epilog="Example: cbir-export list")
def list_backbones() -> None:
    """List the backbones with their source, size, licence, and where their weights are."""
    from .listing import show_backbones

    show_backbones()


for command, panel, example in _COMMANDS:
    app.command(rich_help_panel=panel, epilog=f"Example: {example}")(needs_export(command))


def main() -> None:
    """Run the command line."""
    terminal.run(app, RENAMED)


if __name__ == "__main__":
    main()
