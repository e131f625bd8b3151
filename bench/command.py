"""`cbir-bench`: which model finds best, do the stores agree, how fast is each. The page shows the latest results."""

import sys

import typer

from cbir import terminal
from cbir.errors import UsageError

from .accuracy.command import accuracy
from .baselines.command import baselines
from .capacity.command import plan
from .exchange.command import exchange
from .growth.command import growth
from .http_api.command import http
from .ingest.command import ingest
from .latency.command import latency
from .models.command import models
from .parity.command import parity
from .report.report_command import compare, report
from .text.command import text

RENAMED = {
    "peers": "baselines",
    "stores": "latency",
    "--peer": "--baseline",
    "--peer-python": "--baseline-python",
    "--effort": "--ef",
    "--pictures": "--images",
    "--beside": "--search-during-ingest",
    "--provider": "--device",
}

app = terminal.new_app("Measure which model finds best, whether the stores agree, and how fast everything is.")

for command in (
    accuracy,
    text,
    parity,
    latency,
    http,
    models,
    ingest,
    growth,
    baselines,
    plan,
    exchange,
    report,
    compare,
):
    app.command()(command)


def main() -> None:
    """Run the command line; what it needs of the extra `bench` and does not find is said in one line."""
    try:
        terminal.run(app, RENAMED)
    except ModuleNotFoundError as error:
        if error.name not in ("h5py", "markdown_it", "matplotlib", "onnx", "psutil", "scipy", "sklearn"):
            raise
        typer.echo(f"error: this needs {error.name}: pip install 'cbir[bench]'", err=True)
        sys.exit(UsageError.exit_code)


if __name__ == "__main__":
    main()
