"""`cbir-export`: convert backbones to ONNX files, check them, and train them."""

from cbir import terminal

from .check.command import compare, table, verify
from .convert.command import build
from .train.command import finetune, head

app = terminal.new_app("Turn backbones into verified, self-describing ONNX files, compare them, and train them.")


@app.command("list")
def list_backbones() -> None:
    """List the backbones: source, dimension, input, parameters, GFLOPs, licence, and whether their weights are here."""
    from .listing import show_backbones

    show_backbones()


for command in (build, verify, compare, head, finetune, table):
    app.command()(command)


def main() -> None:
    """Run the command line."""
    terminal.run(app)


if __name__ == "__main__":
    main()
