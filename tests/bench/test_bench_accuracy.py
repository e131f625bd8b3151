"""`cbir-bench accuracy`: its metrics beside another library's, what copies do, and the command on real pictures."""

import json
import shutil
from pathlib import Path

import ir_measures
import numpy as np
import pytest
from cbir.bench import command
from cbir.bench.accuracy import measure
from cbir.bench.core.metrics import definitions, means, per_query
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, RR, P, R, Success, nDCG

from cbir.evaluation.embeddings import Labelled
from tests.support.building import unit_vectors
from tests.support.running import Program, runner


@st.composite
def rankings(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Which of the k hits of some queries are relevant, and how many relevant ones there are."""
    k = draw(st.sampled_from([1, 3, 5, 10]))
    rows = draw(st.lists(st.lists(st.booleans(), min_size=k, max_size=k), min_size=1, max_size=6))
    relevant = np.array(rows)
    beyond = draw(st.lists(st.integers(0, 8), min_size=len(rows), max_size=len(rows)))
    return relevant, relevant.sum(axis=1) + np.array(beyond)


@settings(max_examples=60, deadline=None)
@given(rankings())
def test_metrics_are_those_of_another_library(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    relevant, possible = drawn
    k = relevant.shape[1]
    ours = per_query(relevant, possible)
    names = {
        P @ k: f"precision_at_{k}",
        RR @ k: f"mrr_at_{k}",
        AP @ k: f"map_at_{k}",
        R @ k: f"recall_at_{k}",
        nDCG @ k: f"ndcg_at_{k}",
        Success @ 1: "hit_rate_at_1",
        Success @ k: f"hit_rate_at_{k}",
    }
    for query, (row, count) in enumerate(zip(relevant, possible, strict=True)):
        if not count:
            assert all(values[query] == 0 for values in ours.values())
            continue
        run = {"q": {f"hit {at}": float(k - at) for at in range(k)}}
        judged = {f"hit {at}": 1 for at in np.flatnonzero(row)}
        judged |= {f"missed {at}": 1 for at in range(count - row.sum())}
        theirs = ir_measures.calc_aggregate(list(names), {"q": judged}, run)
        for metric, name in names.items():
            assert ours[name][query] == pytest.approx(theirs[metric]), name


@given(rankings())
def test_every_metric_is_defined_and_none_is_above_one(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    relevant, possible = drawn
    k = relevant.shape[1]
    found = means(per_query(relevant, possible), np.arange(len(relevant)) % 2, k)
    assert set(found) == set(definitions(k))
    assert all(0 <= value <= 1 + 1e-9 for value in found.values())
    assert found["main_score"] == found[f"precision_at_{k}"] <= found[f"precision_of_possible_at_{k}"] + 1e-9
    assert found[f"weighted_precision_at_{k}"] == pytest.approx(found[f"precision_at_{k}"])


def labelled(vectors: np.ndarray, labels: str, digests: str) -> Labelled:
    return Labelled(
        "made", vectors, list(labels), [one.encode() for one in digests], [f"{at}" for at in range(len(labels))]
    )


def test_exact_copies_of_the_query_are_no_hits_and_stand_beside() -> None:
    angles = np.array([0.0, 0.001, 0.1, 0.2, 0.3, 0.4])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    task = measure.make_task(labelled(vectors, "aabbab", "xxyzvw"), measure.LEAVE_ONE_OUT, 1, 2)
    judged = measure.judge(vectors, task)
    assert judged.hits[0].tolist() == [2, 3], "picture 1 is its copy"
    assert judged.with_copies[0].tolist() == [1, 2]
    assert measure.possible(task, copies_count=False)[0] == 1
    assert measure.possible(task, copies_count=True)[0] == 2
    values, kept = measure.values_of(judged, task)
    assert values["precision_at_2"][0] == 0 and kept["precision_at_2"] > values["precision_at_2"].mean()


@pytest.mark.parametrize("seed", range(3))
def test_nobody_is_found_for_themselves(seed: int) -> None:
    vectors = unit_vectors(30, seed)
    task = measure.make_task(
        labelled(vectors, "ab" * 15, "".join(map(chr, range(40, 70)))), measure.LEAVE_ONE_OUT, 1, 5
    )
    judged = measure.judge(vectors, task)
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -2)
    assert (judged.hits == np.argsort(-scores, axis=1)[:, :5]).all()
    assert (judged.hits == judged.with_copies).all()


def test_where_there_are_only_copies_there_are_no_hits() -> None:
    vectors = unit_vectors(6)
    task = measure.make_task(labelled(vectors, "aabbbb", "xxxxxx"), measure.LEAVE_ONE_OUT, 1, 2)
    judged = measure.judge(vectors, task)
    assert (judged.hits == -1).all() and not measure.relevant(judged.hits, task).any()


def test_alike_models_share_a_rank_and_a_better_one_does_not() -> None:
    rng = np.random.default_rng(1)
    vectors = unit_vectors(400)
    task = measure.make_task(
        labelled(vectors, "ab" * 200, "".join(chr(200 + at) for at in range(400))), measure.LEAVE_ONE_OUT, 1, 5
    )
    good = per_query(rng.random((400, 5)) < 0.9, np.full(400, 199))
    poor = per_query(rng.random((400, 5)) < 0.7, np.full(400, 199))
    intervals, pairs, ranks = measure.sure([poor, good, good], task, 500, 1)
    assert ranks == [3, 1, 1]
    alike = next(pair for pair in pairs if pair.models == (1, 2))
    assert (alike.difference, alike.p, alike.p_top1, alike.better) == (0, 1, 1, None)
    apart = next(pair for pair in pairs if pair.models == (0, 1))
    assert apart.better == 1 and apart.interval[1] < 0 and apart.p_holm < 0.01
    for values, bounds in zip((poor, good, good), intervals, strict=True):
        low, high = bounds["precision_at_5"]
        assert low < values["precision_at_5"].mean() < high


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    return runner(monkeypatch, capsys, command.main, "cbir-bench")


def test_the_command_line(run: Program, photo_folder: Path, model_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "accuracy.json"
    code, out, err = run("accuracy", photo_folder, "--model", model_file, "--resamples", 200, "--json", target)
    assert code == 0, err
    result = json.loads(target.read_text())
    (one,) = result["models"]
    assert set(one["metrics"]) == set(result["definitions"]) == set(one["intervals"]) == set(one["with_copies"])
    assert {"precision_at_5", "hit_rate_at_1", "mrr_at_5", "map_at_5", "recall_at_5", "ndcg_at_5"} <= set(
        one["metrics"]
    )
    assert one["metrics"]["hit_rate_at_5"] > 0.5, "the packaged model finds something"
    for part in one["classes"]:
        assert sum(part["retrieved_as"].values()) == pytest.approx(1)
    assert sum(part["queries"] for part in one["classes"]) == result["queries"]
    assert "most often taken for" in out and one["name"] in out


def test_leaving_one_out_asks_for_every_picture(
    run: Program, photo_folder: Path, model_file: Path, tmp_path: Path
) -> None:
    target = tmp_path / "accuracy.json"
    arguments = ("--model", model_file, "--protocol", "leave-one-out", "-k", 3, "--resamples", 200, "--json", target)
    assert run("accuracy", photo_folder, *arguments)[0] == 0
    result = json.loads(target.read_text())
    assert result["queries"] == result["indexed"] == result["pictures"] > 200
    assert "precision_at_3" in result["models"][0]["metrics"]


def test_what_cannot_be_measured_is_one_line(
    run: Program, photo_folder: Path, model_file: Path, tmp_path: Path
) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    picture = next(path for path in sorted(photo_folder.rglob("*.png")))
    shutil.copy(picture, flat / "one.png")
    other = tmp_path / "other.onnx"
    other.write_bytes(b"no model")
    for arguments in (
        (flat,),
        (photo_folder, "--model", other),
        (photo_folder, "--model", model_file, "--model", model_file.parent / "." / model_file.name, "--top-classes", 1),
        (photo_folder, "--protocol", "guess"),
    ):
        code, _, err = run("accuracy", *arguments)
        assert code == 2 and len(err.strip().splitlines()) == 1, err
