"""The README's figures, which all come from `docs/report/report.json`: `python -m tests.support.readme` writes them.

A block stands between `<!-- report: NAME -->` and `<!-- end of NAME -->`, and is one of `BLOCKS`.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cbir.bench.accuracy.view import model_names
from cbir.bench.core.document import Table
from cbir.bench.core.stores import store_name
from cbir.bench.report.render import table_as_markdown
from cbir.bench.report.report_file import FullReport, read_report

from cbir.evaluation.result_files import model_name
from cbir.index.files import write_atomically

ROOT = Path(__file__).parents[2]
README, REPORT = ROOT / "README.md", ROOT / "docs" / "report" / "report.json"
Result = Mapping[str, Any]
_BLOCK = re.compile(r"<!-- report: (?P<name>[a-z]+) -->\n.*?<!-- end of (?P=name) -->", re.DOTALL)


def rewritten(text: str, report: FullReport) -> str:
    """Return a README with each of its blocks made of a report."""
    return _BLOCK.sub(lambda found: _marked(found["name"], BLOCKS[found["name"]](report)), text)


def names_of_blocks(text: str) -> list[str]:
    """Return the names of the blocks of a README, in their order."""
    return [found["name"] for found in _BLOCK.finditer(text)]


def outside_of_blocks(text: str) -> str:
    """Return what a README says besides."""
    return _BLOCK.sub("", text)


def _marked(name: str, text: str) -> str:
    return f"<!-- report: {name} -->\n{text}\n<!-- end of {name} -->"


def _result(report: FullReport, kind: str, at: int = 0) -> Result:
    return [one.result for one in report.results if one.kind == kind][at]


def _machine(report: FullReport) -> str:
    processors = sorted({str(one.machine["processor"]) for one in report.results if one.machine.get("processor")})
    where = f"{report.machine['cpus']} cores" + (f" of {' and '.join(processors)}" if processors else "")
    parity = _result(report, "parity")
    return (
        f"Measured on {report.created:%Y-%m-%d}, {where}, with {parity['counts']['points']:,} pictures of the data set"
        " `ashraq/fashion-product-images-small` (60 x 80 pixels, the ten most frequent classes of `subCategory`)."
    )


def _accuracy(report: FullReport) -> str:
    result = _result(report, "accuracy")
    models, k = result["models"], result["settings"]["k"]
    names = model_names(models)
    columns = ("hit_rate_at_1", f"hit_rate_at_{k}", f"majority_at_{k}", f"mrr_at_{k}")
    rows = []
    for at in sorted(range(len(models)), key=lambda at: -models[at]["metrics"]["main_score"]):
        one = models[at]
        low, high = one["intervals"]["main_score"]
        figures = [f"{one['metrics'][name]:.4f}" for name in columns]
        rows.append(
            [names[at], f"{one['metrics']['main_score']:.4f}", f"{low:.4f} - {high:.4f}", *figures, f"{one['rank']}"]
        )
    head = ["model", f"P@{k}", "95 %", "top-1", f"hit@{k}", f"majority of {k}", f"MRR@{k}", "rank"]
    words = f"{result['pictures']:,} pictures, {result['queries']:,} of them asked for, {k} hits each:"
    return f"{words}\n\n{table_as_markdown(Table('', head, rows))}"


def _models(report: FullReport) -> str:
    result = _result(report, "models")
    batches = sorted({case["batch"] for one in result["models"] for case in one["cases"]})
    rows = []
    for one in result["models"]:
        spent = {case["batch"]: case["ms_an_image"] for case in one["cases"] if case["provider"] == "cpu"}
        times = [f"{spent[batch]['median']:.2f}" if spent.get(batch) else "-" for batch in batches]
        first = [model_name(one["model"], one["precision"]), f"{one['input']}", f"{one['megabytes']:.1f}"]
        rows.append([*first, *times])
    head = ["model", "input", "MB", *(f"ms an image, batch {batch}" for batch in batches)]
    return table_as_markdown(Table("", head, rows))


def _parity(report: FullReport) -> str:
    result = _result(report, "parity")
    k = result["settings"]["k"]
    rows = [
        [
            f"{store_name(one['store'])}, {one['mode']}, and the exact answer",
            f"{one['ann_recall_at_k']['mean']:.4f}",
            f"{one['ann_recall_at_k']['worst']:.2f}",
        ]
        for one in result["oracle"]
    ]
    rows += [
        [
            f"{' and '.join(map(store_name, one['stores']))}, {one['mode']}",
            f"{one['overlap_at_k']['mean']:.4f}",
            f"{one['overlap_at_k']['worst']:.2f}",
        ]
        for one in result["pairs"]
    ]
    words = f"{result['settings']['queries']:,} queries, {k} hits each:"
    return f"{words}\n\n" + table_as_markdown(Table("", ["what is compared", "shared hits", "worst query"], rows))


def _latency(report: FullReport) -> str:
    result = _result(report, "latency")
    k, rows = result["settings"]["k"], []
    threads = [load["threads"] for load in result["curves"][0]["points"][0]["loads"]]
    for curve in result["curves"]:
        good = [point for point in curve["points"] if not point["failed"]]
        first = next((point for point in good if point["ann_recall_at_k"]["mean"] >= 0.99), good[-1])
        usual = min(good, key=lambda point: abs((point["effort"] or 0) - (curve["usual"] or 0)))
        for point in (first, usual):
            found, spent = point["ann_recall_at_k"], point["search_ms"]
            rows.append(
                [
                    f"{store_name(curve['store'])}, {curve['knob'] or 'scan'} {point['effort'] or ''}".strip(),
                    f"{found['mean']:.4f}",
                    f"{found['p5']:.2f}, {found['worst']:.2f}",
                    *(f"{spent[name]:.2f}" for name in ("median", "p95", "p99")),
                    f"{point['ratio']:.2f}" if point["ratio"] else "-",
                    *(f"{load['searches_per_second']['median']:,.0f}" for load in point["loads"]),
                ]
            )
    head = ["store", f"recall@{k}", "p5, min", "median ms", "p95", "p99", "beside the raw call"]
    head += [f"searches/s, {count} thread{'s' if count > 1 else ''}" for count in threads]
    return table_as_markdown(Table("", head, rows))


def _peers(report: FullReport) -> str:
    search = _result(report, "peers")["search"]
    reached = [one for one in search["candidates"] if one["at_recall"]]
    rows = [
        [
            one["name"],
            f"{one['at_recall']['recall']:.4f}",
            f"{one['at_recall']['median_ms']['median']:.2f}",
            f"{one['at_recall']['median_ms']['lowest']:.2f} - {one['at_recall']['median_ms']['highest']:.2f}",
            "-" if one["build_seconds"] is None else f"{one['build_seconds']:,.0f}",
            "-" if one["megabytes"] is None else f"{one['megabytes']:,.0f}",
        ]
        for one in sorted(reached, key=lambda one: float(one["at_recall"]["median_ms"]["median"]))
    ]
    head = ["what searches", f"recall@{search['k']}", "median ms", "lowest - highest", "seconds to build", "MB"]
    left = [one["name"] for one in search["candidates"] if not one["at_recall"]]
    words = f"\n\nNot at recall {search['recall']}, or not measured: {', '.join(left)}." if left else ""
    return table_as_markdown(Table("", head, rows)) + words


def _embedding(report: FullReport) -> str:
    rows = []
    for measured in _result(report, "peers")["embedding"] or ():
        ratios = {one["to"]: one["by_clock"]["median"] for one in measured["ratios"] if one["of"] == "ingest, durable"}
        for part in measured["parts"]:
            rate = part["images_per_second"]
            if rate is None:
                continue
            ratio = ratios.get(part["name"])
            rows.append(
                [
                    f"{part['name']}, {measured['model']}",
                    f"{rate['median']:,.0f}",
                    f"{rate['lowest']:,.0f} - {rate['highest']:,.0f}",
                    "-" if ratio is None else f"{ratio:.2f}",
                    "-" if part["peak_megabytes"] is None else f"{part['peak_megabytes']:,.0f}",
                ]
            )
    head = ["from files to vectors", "images/s", "lowest - highest", "the durable ingest by this", "MB"]
    return table_as_markdown(Table("", head, rows))


BLOCKS: Mapping[str, Callable[[FullReport], str]] = {
    "machine": _machine,
    "accuracy": _accuracy,
    "models": _models,
    "parity": _parity,
    "latency": _latency,
    "peers": _peers,
    "embedding": _embedding,
}


def main() -> None:
    """Write the README's blocks anew."""
    text = README.read_text()
    write_atomically(README, rewritten(text, read_report(REPORT)).encode())


if __name__ == "__main__":
    main()
