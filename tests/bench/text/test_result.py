"""What a reader sees of a result of `cbir-bench text`."""

from dataclasses import replace
from typing import Any

from cbir.bench.core.subject import envelope
from cbir.bench.text.measure import RANKS, Options, TextAccuracy
from cbir.bench.text.result import SUBJECT, TextResult, notes, present

from cbir.tables import Range, Table

OPTIONS = Options("photos", ["title"], None, "kind", None, None, None)
SHARES = {k: Range(k / 20, 0.0, 1.0) for k in RANKS}
MODEL = TextAccuracy("clip", "fp32", "1" * 64, "clip-text", "2" * 64, False, True, 30, 40, SHARES, SHARES)
LABELLED = replace(MODEL, name="other", classes=3, labelled=20, zero_shot=Range(0.7, 0.6, 0.8), class_hits=0.9)


def result(*models: TextAccuracy) -> TextResult:
    header: dict[str, Any] = envelope("text", notes(OPTIONS, models))
    return TextResult(**header, settings=OPTIONS, models=list(models))


def test_the_best_model_is_named_and_classes_have_a_table_if_there_are_any() -> None:
    section = present(result(MODEL))
    assert section.verdicts == ["clip (fp32), clip-text: 50.0% of 40 captions find their image among the first 10."]
    assert sum(isinstance(part, Table) for part in section.parts) == 1
    better = replace(LABELLED, text_to_image={k: Range(0.9, 0.8, 1.0) for k in RANKS})
    both = present(result(MODEL, better))
    assert both.verdicts[0].startswith("other (fp32), clip-text: 90.0%")
    tables = [part for part in both.parts if isinstance(part, Table)]
    assert [len(table.rows) for table in tables] == [2, 1]


def test_the_notes_say_what_was_left_out_and_what_means_nothing() -> None:
    assert any("did not learn from" in note for note in notes(OPTIONS, [MODEL]))
    assert not any("did not learn from" in note for note in notes(OPTIONS, [replace(MODEL, unseen=False)]))
    assert notes(OPTIONS, [replace(MODEL, random_weights=True)])[-1].startswith("clip has random weights")
    assert any("Zero-shot" in note for note in notes(OPTIONS, [LABELLED]))


def test_a_result_survives_its_json() -> None:
    made = result(MODEL, LABELLED)
    assert SUBJECT.load(SUBJECT.dump(made)) == made
