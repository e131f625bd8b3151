"""Sections of a report about the stores: how they agree, and their recall against their speed."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..core.comparable_metrics import store_name
from ..report import svg
from ..report.document import Part, Picture, Plot, Section, Strip, Table

Result = Mapping[str, Any]
_STRIPS = 3
_TARGET = 0.99


def parity_section(result: Result, command: str) -> Section:
    """Return the section of a result of `parity`."""
    k = result["settings"]["k"]
    oracle = [
        [
            f"{store_name(one['store'])}, {one['mode']}",
            one["searched"],
            share(one["ann_recall_at_k"]["mean"]),
            share(one["ann_recall_at_k"]["p5"]),
            share(one["ann_recall_at_k"]["worst"]),
            f"{one['queries_below_one']:,}",
            small(one["score_difference"]["worst"]),
        ]
        for one in result["oracle"]
    ]
    pairs = [
        [
            f"{' / '.join(map(store_name, one['stores']))}, {one['mode']}",
            *(share(one[name]["mean"]) for name in ("overlap_at_k", "rbo", "kendall_tau_b")),
            *(f"{one[name]:,}" for name in ("identical", "identical_up_to_ties", "different")),
            small(one["score_difference"]["worst"]),
        ]
        for one in result["pairs"]
    ]
    parts: list[Part] = [
        Table(
            "Against the exact answer",
            ["store", "searched", f"recall@{k}", "p5", "min", "queries below 1", "score difference"],
            oracle,
        )
    ]
    if pairs:
        columns = ["stores", f"overlap@{k}", "RBO", "tau-b", "identical", "but for ties", "different"]
        parts.append(Table("Store against store", [*columns, "score difference"], pairs))
    parts += _by_k(result)
    parts += _strips(result)
    points = result["counts"]["points"]
    title = f"Do the stores agree? {result['collection']}, {points:,} points"
    question = f"{result['settings']['queries']:,} stored pictures asked for in each store, {k} hits each."
    return Section(title, question, command, parts, result["notes"])


def latency_section(result: Result, command: str) -> Section:
    """Return the section of a result of `latency`."""
    k = result["settings"]["k"]
    curves = {
        f"{store_name(curve['store'])} ({curve['knob'] or 'scan'})": [
            ((point["ann_recall_at_k"]["mean"], 1000 / point["search_ms"]["median"]), point["on_front"])
            for point in curve["points"]
            if not point["failed"]
        ]
        for curve in result["curves"]
    }
    drawn = svg.curves(f"recall@{k}", "searches a second, one client", curves, _TARGET)
    words = f"Recall@{k} against searches a second, by store; points on the Pareto front are joined"
    parts: list[Part] = [Plot("recall-qps", drawn, words)]
    parts += [_curve(curve, k) for curve in result["curves"]]
    parts += [table for curve in result["curves"] for table in _within(curve, k)]
    parts += [_rates(one) for one in result["open_loop"] if one["rates"]]
    if result["cold"]:
        rows = [
            [
                store_name(one["store"]),
                *(milliseconds(one[name]["median"]) for name in ("open_ms", "first_ms", "next_ms", "warm_ms")),
            ]
            for one in result["cold"]
        ]
        columns = ["store", "opening", "first search", "the next 99, median", "then, median"]
        parts.append(Table("Cold, in milliseconds", columns, rows))
    if result["stages"]:
        parts.append(_stages(result["stages"]))
    failed = [
        f"{store_name(curve['store'])}, {curve['knob']} {point['effort']}: failed: {point['failed']}"
        for curve in result["curves"]
        for point in curve["points"]
        if point["failed"]
    ]
    question = f"{result['collection']}: recall against speed at every width of search, never one without the other."
    return Section("How fast is each store?", question, command, parts, [*result["notes"], *failed])


def _by_k(result: Result) -> Iterator[Table]:
    depths = [one["k"] for one in result["oracle"][0].get("by_k", ())] if result["oracle"] else []
    if not depths:
        return
    rows = [
        [
            f"{store_name(one['store'])}, {one['mode']}: recall",
            *(share(at["ann_recall_at_k"]["mean"]) for at in one["by_k"]),
        ]
        for one in result["oracle"]
    ]
    rows += [
        [
            f"{' / '.join(map(store_name, one['stores']))}, {one['mode']}: overlap",
            *(share(at["overlap_at_k"]["mean"]) for at in one["by_k"]),
        ]
        for one in result["pairs"]
    ]
    yield Table("By the number of hits", ["", *(f"@{depth}" for depth in depths)], rows)


def _strips(result: Result) -> Iterator[Strip]:
    """Yield the queries that differ most, with their pictures."""
    pictures = {one: base64.b64decode(data) for one, data in (result.get("pictures") or {}).items()}
    if not pictures:
        return
    for pair in result["pairs"]:
        for worst in pair.get("worst", ())[:_STRIPS]:
            query = worst["query"]
            for store, hits in zip(pair["stores"], worst["hits"], strict=True):
                shown = [Picture(query["id"], pictures.get(query["id"]), f"query {query['key'] or ''}")]
                shown += [_hit(one, pictures) for one in hits]
                yield Strip(f"{store_name(store)}, {pair['mode']}: {query['key'] or query['id']}", shown)


def _hit(hit: Mapping[str, Any], pictures: Mapping[str, bytes]) -> Picture:
    missing = ", missing in the other" if hit["missing"] else ""
    return Picture(hit["id"], pictures.get(hit["id"]), f"{hit['rank']}: {hit['score']:.3f}{missing}")


def _curve(curve: Mapping[str, Any], k: int) -> Table:
    good = [point for point in curve["points"] if not point["failed"]]
    threads = [load["threads"] for load in good[0]["loads"]] if good else []
    columns = [
        curve["knob"] or "scan",
        f"recall@{k}",
        "p5",
        "min",
        "median",
        "p95",
        "p99",
        "p99.9",
        "raw call",
        "ours / raw",
    ]
    columns += [f"searches/s, {count} thr." for count in threads]
    rows = [
        [
            f"{point['effort'] or '-'}{' *' if point['on_front'] else ''}",
            *(share(point["ann_recall_at_k"][name]) for name in ("mean", "p5", "worst")),
            *(milliseconds(point["search_ms"][name]) for name in ("median", "p95", "p99", "p999")),
            milliseconds(point["raw_ms"]["median"] if point["raw_ms"] else None),
            "-" if point["ratio"] is None else f"{point['ratio']:.2f}",
            *(_rate(load["searches_per_second"]) for load in point["loads"]),
        ]
        for point in good
    ]
    return Table(f"{store_name(curve['store'])}, milliseconds of a search by one client", columns, rows)


def _within(curve: Mapping[str, Any], k: int) -> Iterator[Table]:
    rows = [
        [
            f"{point['effort'] or '-'}",
            f"{one['value']} ({one['share']:.1%})",
            *(share(one["ann_recall_at_k"][name]) for name in ("mean", "p5", "worst")),
            *(milliseconds(one["search_ms"][name]) for name in ("median", "p95", "p99")),
            f"{one['ratio']:.2f}",
        ]
        for point in curve["points"]
        for one in point["filtered"]
    ]
    if rows:
        columns = [curve["knob"] or "scan", "class", f"recall@{k}", "p5", "min", "median", "p95", "p99", "/ unfiltered"]
        yield Table(f"{store_name(curve['store'])}, within a class", columns, rows)


def _rates(one: Mapping[str, Any]) -> Table:
    columns = [
        "of its best",
        "due/s",
        "answered/s",
        "response median",
        "p95",
        "p99",
        "p99.9",
        "service p99",
        "late at the end",
    ]
    rows = []
    for rate in one["rates"]:
        first = [f"{rate['share']:.0%}", f"{rate['due_per_second']:,.0f}"]
        if rate["failed"]:
            rows.append([*first, f"failed: {rate['failed']}", *[""] * 6])
            continue
        rows.append(
            [
                *first,
                f"{rate['answered_per_second']:,.0f}",
                *(milliseconds(rate["response_ms"][name]) for name in ("median", "p95", "p99", "p999")),
                milliseconds(rate["service_ms"]["p99"]),
                milliseconds(rate["late_ms"]),
            ]
        )
    threads = one["rates"][0]["threads"]
    return Table(f"{store_name(one['store'])}, open loop with {threads} threads, in milliseconds", columns, rows)


def _stages(stages: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        [
            store_name(one["store"]),
            *(milliseconds(one["parts_ms"][name]) for name in ("decode", "preprocess", "model")),
            *(milliseconds(one[name]) for name in ("transport_ms", "search_ms", "protocol_ms")),
            *(f"{one['shares'].get(name, 0):.1%}" for name in ("embedding", "transport")),
            f"{one['shares']['search'] + one['shares'].get('protocol', 0):.1%}",
        ]
        for one in stages
    ]
    columns = ["store", "decode", "preprocess", "model", "transport", "engine", "protocol"]
    return Table(
        "One question from file to hits: milliseconds, and shares of its time",
        [*columns, "embedding", "transport ", "search"],
        rows,
    )


def _rate(spread: Mapping[str, float]) -> str:
    return f"{spread['median']:,.0f} ({spread['lowest']:,.0f} - {spread['highest']:,.0f})"


def share(value: float | None) -> str:
    """Return a share with four digits; "-" where it is undefined."""
    return "-" if value is None else f"{value:.4f}"


def milliseconds(value: float | None) -> str:
    """Return milliseconds with three digits; "-" where they are not known."""
    return "-" if value is None else f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def small(value: float | None) -> str:
    """Return a difference that is next to nothing; "-" where it is undefined."""
    return "-" if value is None else f"{value:.1e}"
