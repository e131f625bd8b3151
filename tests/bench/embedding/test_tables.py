"""How measurements of image files to vectors are shown."""

from cbir.bench.core.timing import Spread
from cbir.bench.embedding.measure import BOUND, DURABLE, MODEL, PUBLISHED, EmbeddingPart, ModelEmbedding
from cbir.bench.embedding.tables import embedding_notes, embedding_tables, embedding_verdicts

from cbir.tables import Range


def part(name: str, rate: float) -> EmbeddingPart:
    ratio = 80.0 / rate
    return EmbeddingPart(name, name, "", Spread(rate, rate, rate), ratio=Spread(ratio, ratio, ratio), others=0.0)


MEASURED = ModelEmbedding(
    "lite0",
    500,
    [
        *(part(name, rate) for name, rate in ((MODEL, 100.0), (BOUND, 90.0), (DURABLE, 80.0), (PUBLISHED, 60.0))),
        *(part(name, rate) for name, rate in (("torch", 20.0), ("fastembed", 40.0))),
        EmbeddingPart("sentence-transformers", "a larger model", "not installed: No module named 'torch'"),
    ],
    {},
)


def test_the_ingest_is_compared_with_its_model_and_with_the_fastest_baseline() -> None:
    assert embedding_verdicts([MEASURED]) == [
        "An ingest with lite0 reaches 80% of the speed of its model alone.",
        "It is 2.00 times as fast as fastembed, the fastest baseline.",
    ]


def test_each_part_is_a_row_and_what_is_missing_has_no_numbers() -> None:
    (table,) = embedding_tables([MEASURED])
    assert table.title == "lite0, 500 images"
    assert table.rows[0][:2] == [MODEL, Range(100.0, 100.0, 100.0)]
    assert table.rows[-1] == ["sentence-transformers", None, None, None, None]
    assert "lite0, sentence-transformers: not measured: not installed: No module named 'torch'" in embedding_notes(
        [MEASURED]
    )
