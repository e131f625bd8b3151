"""The measurements in the README, written from `docs/report/report.json` by `python -m tests.support.readme`.

A block is between `<!-- report: NAME -->` and `<!-- end of NAME -->`, and is one of `BLOCKS`.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cbir.bench.core.stores import store_name
from cbir.bench.report.report_file import FullReport, read_report

from cbir.evaluation.result_files import model_name
from cbir.index.files import write_atomically

ROOT = Path(__file__).parents[2]
README, REPORT = ROOT / "README.md", ROOT / "docs" / "report" / "report.json"
Result = Mapping[str, Any]
_BLOCK = re.compile(r"<!-- report: (?P<name>[a-z]+) -->\n.*?<!-- end of (?P=name) -->", re.DOTALL)


def rewritten(text: str, report: FullReport) -> str:
    """Return a README whose blocks are written from a report."""
    return _BLOCK.sub(lambda found: _marked(found["name"], BLOCKS[found["name"]](report)), text)


def names_of_blocks(text: str) -> list[str]:
    """Return the names of the blocks of a README, in order."""
    return [found["name"] for found in _BLOCK.finditer(text)]


def outside_of_blocks(text: str) -> str:
    """Return a README without its blocks."""
    return _BLOCK.sub("", text)


def _marked(name: str, text: str) -> str:
    return f"<!-- report: {name} -->\n{text}\n<!-- end of {name} -->"


def _result(report: FullReport, kind: str) -> Result:
    return next(result.result for result in report.results if result.kind == kind)


def _machine(report: FullReport) -> str:
    processors = sorted(
        {str(result.machine["processor"]) for result in report.results if result.machine.get("processor")}
    )
    machine = f"{report.machine['cpus']} cores" + (f" of {' and '.join(processors)}" if processors else "")
    points = _result(report, "parity")["counts"]["points"]
    return (
        f"On {report.created:%Y-%m-%d}, on {machine}, with {points:,} images of `ashraq/fashion-product-images-small`\n"
        "(60 x 80 pixels, the ten most frequent classes of `subCategory`):"
    )


def _summary(report: FullReport) -> str:
    rows = [
        ["Which model is most accurate?", _best_model(report, trained=False), "`cbir-bench accuracy`"],
        ["And when trained for the classes?", _best_model(report, trained=True), "`cbir-export head`"],
        ["Do the stores agree?", _agreement(report), "`cbir-bench parity`"],
        ["How fast is a search?", _search_times(report), "`cbir-bench latency`"],
        ["How fast is a model?", _model_time(report), "`cbir-bench models`"],
        ["And other libraries?", _other_libraries(report), "`cbir-bench peers`"],
    ]
    return "\n".join(["| question | answer | command |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)])


def _best_model(report: FullReport, trained: bool) -> str:
    """Return the most accurate of the models that were trained for the classes, or of the others."""
    models = [model for model in _result(report, "accuracy")["models"] if bool(model["training"]) == trained]
    best = max(models, key=lambda model: float(model["metrics"]["main_score"]))
    return f"{best['name']}: Precision@5 {best['metrics']['main_score']:.4f}"


def _agreement(report: FullReport) -> str:
    result = _result(report, "parity")
    pair = next(pair for pair in result["pairs"] if pair["mode"] == "ordinary")
    names = " and ".join(map(store_name, pair["stores"]))
    return f"{names} share {100 * pair['overlap_at_k']['mean']:.2f} % of {result['settings']['k']} hits"


def _search_times(report: FullReport) -> str:
    """Return each store's median time at the first width that reaches a recall of 0.99."""
    times = []
    for curve in _result(report, "latency")["curves"]:
        points = [point for point in curve["points"] if not point["failed"]]
        first = next((point for point in points if point["ann_recall_at_k"]["mean"] >= 0.99), points[-1])
        recall = f"recall {first['ann_recall_at_k']['mean']:.3f}"
        times.append(f"{store_name(curve['store'])} {first['search_ms']['median']:.2f} ms ({recall})")
    return ", ".join(times)


def _model_time(report: FullReport) -> str:
    model = _result(report, "models")["models"][0]
    case = next(case for case in model["cases"] if case["batch"] == 1 and case["provider"] == "cpu")
    return f"{model_name(model['model'], model['precision'])}: {case['ms_an_image']['median']:.1f} ms per image"


def _other_libraries(report: FullReport) -> str:
    search = _result(report, "peers")["search"]
    reached = [row for row in search["candidates"] if row["at_recall"]]
    fastest = sorted(reached, key=lambda row: float(row["at_recall"]["median_ms"]["median"]))
    shown = [row for row in fastest if row["name"] in ("faiss", "qdrant-client") or row["name"].startswith("cbir")]
    return ", ".join(f"{row['name']} {row['at_recall']['median_ms']['median']:.2f} ms" for row in shown)


BLOCKS: Mapping[str, Callable[[FullReport], str]] = {"machine": _machine, "summary": _summary}


def main() -> None:
    """Write the README's blocks."""
    text = README.read_text()
    write_atomically(README, rewritten(text, read_report(REPORT)).encode())


if __name__ == "__main__":
    main()
