"""How the costs of changes are shown."""

from cbir.bench.core.subject import envelope
from cbir.bench.growth.changes import Change, Commits, Pause
from cbir.bench.growth.first_ingest import FirstIngest
from cbir.bench.growth.grown import Grown
from cbir.bench.growth.result import NOTES, SUBJECT, GrowthResult, present

from cbir.tables import Range, to_markdown
from tests.support.sections import cells

RESULT = GrowthResult(
    **envelope("growth", NOTES),
    engines=["edge", "faiss"],
    points=36_906,
    dimension=1280,
    changes=[
        Change(
            "36,906 x 1,280, photos.add and search: 100 images",
            Range(0.1, 0.09, 0.2),
            Range(0.05, 0.05, 0.1),
            40,
            0.0025,
        )
    ],
    commits=[Commits("36,906 x 1,280, 100 commits of 100 images", 0.1, 0.11, 0.12, 0.5, 1.2)],
    grown=[Grown("20 random changes, edge", Range(2, 1, 3), Range(1, 1, 2), 2.0, 0.99, 1.0, 500, 400)],
    first_ingests=[FirstIngest("made-up images", 36_906, 120.0, 108.0, 0.9, 12.0, 20.0)],
    pauses=[Pause("36,906 x 1,280, 5 additions of 100 images", 1.0, 5.0, 1.1, 1329.0)],
    failed={"1,000,000 x 256, api": "the disk is full"},
)


def test_a_result_is_the_same_after_saving_and_loading() -> None:
    assert SUBJECT.load(SUBJECT.dump(RESULT)) == RESULT


def test_the_verdicts_compare_with_a_full_rebuild_and_a_fresh_build() -> None:
    assert present(RESULT).verdicts == [
        "36,906 x 1,280, photos.add and search: 100 images: 0.1 s, 0.0025 times a full rebuild (40 s).",
        "36,906 x 1,280, 100 commits of 100 images: the last one takes 1.20 times as long as the first.",
        "20 random changes, edge: a search takes 2.00 times as long as in a fresh build, recall differs by -0.0100, and"
        " the files take 1.25 times the space.",
        "made-up images: published at 0.90 times the speed at which images are stored.",
        "36,906 x 1,280, 5 additions of 100 images: the longest search takes 1,329 ms, 5 before.",
    ]


def test_the_tables_have_every_number_and_fit_a_report() -> None:
    section = present(RESULT)
    assert cells(section, "Changes", "time / rebuild") == [0.0025]
    assert cells(section, "Many commits in a row", "longest") == [0.5]
    assert cells(section, "A grown collection and a fresh build", "fresh recall@10") == [1.0]
    assert len(section.tables) == 5
    for table in section.tables:
        assert all(len(line) < 140 for line in to_markdown(table).splitlines())


def test_what_failed_is_the_first_note() -> None:
    assert present(RESULT).notes[0] == "1,000,000 x 256, api: failed: the disk is full"
