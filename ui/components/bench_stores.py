"""What the page shows of the bench's results on stores and their sizes, which are JSON that may hold anything.

What a result holds besides is ignored. One that lacks a figure raises `LookupError` or `TypeError`.
"""

from typing import Any

from . import plots
from .sections import Result, Section, Sections, figure, recall, short_names, times

_MAX_QUERIES = 500


def stores(result: Result) -> Sections:
    """Return recall, speed and size of each store."""
    found, footprints = result["latencies"], result["footprints"]
    names = short_names([row["store"] for row in (*found, *footprints)])
    alone = [
        {
            "store": names[store["store"]],
            **recall(store["ann_recall_at_k"]),
            **times(store["search_ms"], "p99"),
            "searched": store["searched"],
        }
        for store in found
    ]
    loads = [
        {
            "store": names[store["store"]],
            "threads": load["threads"],
            "searches/s": load["searches_per_second"],
            **times(load["search_ms"]),
        }
        for store in found
        for load in store["loads"]
    ]
    filtered = [
        {
            "store": names[store["store"]],
            "filter": f"{part['field']}={part['value']}",
            "share of the points": part["share"],
            **recall(part["ann_recall_at_k"]),
            **times(part["search_ms"], "p99"),
        }
        for store in found
        for part in store["filtered"]
    ]
    sizes = [
        {
            "store": names[row["store"]],
            "index on disk, MB": row["disk_megabytes"],
            "a search goes through, MB": row["walked_megabytes"],
            "memory of its own, MB": figure(row["memory"], "searched", "own"),
            "mapped files in memory, MB": figure(row["memory"], "searched", "mapped"),
        }
        for row in footprints
    ]
    long = [
        {"store": row["store"], "what": what.removesuffix(", MB"), "MB": value}
        for row in sizes
        for what, value in row.items()
        if what != "store"
    ]
    return Sections(
        [
            Section(
                "Recall against latency, one search at a time: the median, and a line to the p95",
                alone,
                plots.ranged("median ms", "p95 ms", "recall", "store"),
            ),
            Section("Searches a second, by client threads", loads, plots.lines("threads", "searches/s", "store")),
            Section(
                "Filtered: recall against latency, against the exact filtered answer",
                filtered,
                plots.ranged("median ms", "p95 ms", "recall", "store", shape="filter"),
            ),
            Section("Disk and memory", sizes, plots.bars("MB", "store", "what"), long),
        ],
        [
            f"{names.get(store['store'], store['store'])}: {error}"
            for ingest in result["beside"]
            for store in ingest["stores"]
            for error in store["errors"]
        ],
    )


def parity(result: Result) -> Sections:
    """Return how far the stores agree, with the exact answer and with each other."""
    oracle, pairs = result["oracle"], result["pairs"]
    names = short_names([row["store"] for row in oracle])
    both = [" / ".join(names.get(url, url) for url in pair["stores"]) for pair in pairs]
    against_exact = [
        {
            "store": names[row["store"]],
            "search": row["mode"],
            **recall(row["ann_recall_at_k"]),
            "below 1": row["queries_below_one"],
        }
        for row in oracle
    ]
    against_each_other = [
        {"stores": name, "search": pair["mode"], **recall(pair["overlap_at_k"], "overlap"), "differ": pair["different"]}
        for name, pair in zip(both, pairs, strict=True)
    ]
    worst = [
        {
            "query": _query(row["ann_recall_at_k"]["worst_query"]),
            "of": names[row["store"]],
            "search": row["mode"],
            "what": f"recall {row['ann_recall_at_k']['worst']:.2f}",
        }
        for row in oracle
        if row["queries_below_one"] and row["ann_recall_at_k"]["worst_query"]
    ]
    worst += [
        {
            "query": _query(different["query"]),
            "of": name,
            "search": pair["mode"],
            "what": f"differs from rank {different['rank']} on",
        }
        for name, pair in zip(both, pairs, strict=True)
        for different in pair["differences"]
    ]
    return Sections(
        [
            Section(
                "Recall against the exact answer: the mean, and a line to the worst query",
                against_exact,
                plots.down_to("recall", "store"),
            ),
            Section(
                "Overlap of each pair of stores: the mean, and a line to the worst query",
                against_each_other,
                plots.down_to("overlap", "stores"),
            ),
            Section("The queries that come out worst", worst[:_MAX_QUERIES]),
        ]
    )


def plan(result: Result) -> Sections:
    """Return what a number of images takes, in an embedded index and on a server."""
    rows = []
    for size in result["plans"]:
        costs = [
            (name, engine["disk_bytes"] + size["log_bytes"], engine["serve_bytes"])
            for name, engine in size["engines"].items()
        ]
        costs += [
            (f"server, {server['layout']}", server["disk_bytes"], server["ram_bytes"]) for server in size["servers"]
        ]
        rows += [
            {"images": size["images"], "how": how, "disk GB": disk / 1e9, "RAM GB": ram / 1e9}
            for how, disk, ram in costs
        ]
    disk = plots.logarithmic("images", "disk GB", "how")
    return Sections(
        [
            Section("Disk, with the vector log of an embedded index", rows, disk, table=False),
            Section("RAM to search", rows, plots.logarithmic("images", "RAM GB", "how")),
        ]
    )


def plan_check(result: Result) -> Sections:
    """Return how many times its prediction each cost of an index was."""
    rows = [
        {
            "index": check["name"],
            "cost": cost,
            "measured / predicted": factor,
            "limit": result["limits"].get(cost),
            "within": "no" if cost in check["missed"] else "yes",
        }
        for check in result["checks"]
        for cost, factor in check["factors"].items()
    ]
    title = "How many times what was predicted each cost turned out to be"
    return Sections([Section(title, rows, plots.bars("measured / predicted", "cost", "index"))])


def _query(query: Any) -> str:
    return str(query["key"] or query["id"])
