"""Fills a collection of a `cbir-serve` with vectors that are made here."""

import base64
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from cbir.errors import UsageError
from cbir.index.generation import Plan
from cbir.index.stored_ids import ROW, PointIds, StoredIds
from cbir.models.card import ModelRef
from cbir.models.received import Part
from cbir.models.text_tower import own_text_tower
from cbir.progress import Progress
from cbir.records import Failure, Payload, Point, plain_point, vector_of
from cbir.settings import Settings
from cbir.stores.api.connection import ApiConnection, ApiUsageError, in_parts
from cbir.stores.base import ReadBack

_POINTS_AT_ONCE = 100
_IDS_AT_ONCE = 10_000
_PIECE = 4 * 2**20


class ApiWriter:
    """A collection of a server being filled; see `cbir.stores.base.CollectionWriter`.

    What is written is on the server's disk. If the connection is lost, the same request is sent again.
    """

    shared = False

    def __init__(
        self,
        connection: ApiConnection,
        plan: Plan,
        model_file: Path,
        journal_path: Path,
        settings: Settings,
        same_source: bool,
    ):
        self._connection, self._patience = connection, settings.server_retry_seconds
        self._path = f"/v1/collections/{plan.collection}/filling"
        self.name = f"{connection.address} {plan.collection}"
        self.journal_path = journal_path
        self._filled: dict[str, Any] = {
            "dataset": plan.dataset,
            "source": plan.source,
            "model": asdict(plan.model),
            "same_source": same_source,
        }
        try:
            opened = connection.post(self._path, self._filled)
        except ApiUsageError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            self._send_model(plan.model, model_file)
            opened = connection.post(self._path, self._filled)
        self._fetching = threading.Lock()
        self._stored_ids: PointIds | None = None
        self.state: str | None = opened["state"]
        self.resumed = int(opened["resumed"])
        self.needs_publishing = bool(opened["needs_publishing"])

    @property
    def stored_ids(self) -> PointIds:
        """See `CollectionWriter`. They are fetched when they are first used: many changes need none."""
        with self._fetching:
            if self._stored_ids is None:
                rows = self._connection.ask("POST", f"{self._path}/stored", content=orjson.dumps(self._filled))
                self._stored_ids = StoredIds(np.frombuffer(rows, ROW))
            return self._stored_ids

    def refresh(self) -> None:
        self._stored_ids = None

    def require_free_space(self, fresh: int) -> None:
        self._ask("space", {"fresh": fresh})

    def write(self, points: Sequence[Point]) -> list[Failure]:
        return in_parts(points, _POINTS_AT_ONCE, self._written)

    def _written(self, points: Sequence[Point]) -> list[Failure]:
        answer = self._ask("points", {"points": [plain_point(point) for point in points]})
        self._changed()
        return [Failure(**failure) for failure in answer["failures"]]

    def delete(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), _IDS_AT_ONCE):
            self._ask("delete", {"ids": list(ids[start : start + _IDS_AT_ONCE])})
            self._changed()

    def update(self, ids: Sequence[str], changes: Payload) -> None:
        for start in range(0, len(ids), _IDS_AT_ONCE):
            self._ask("update", {"ids": list(ids[start : start + _IDS_AT_ONCE]), "changes": changes})
            self._changed()

    def points(self, ids: Sequence[str]) -> dict[str, Point]:
        return {point.id: point for point in in_parts(ids, _POINTS_AT_ONCE, self._read)}

    def _read(self, ids: Sequence[str]) -> list[Point]:
        return [_point(point) for point in self._ask("read", {"ids": list(ids)})["points"]]

    def described(self) -> Iterator[tuple[str, Payload]]:
        for point_id, key, sha256 in self._connection.lines(f"{self._path}/described/all", self._filled):
            yield point_id, {"key": key, "sha256": sha256}

    def thumbnails(self) -> Iterator[tuple[str, bytes]]:
        for key, thumbnail in self._connection.lines(f"{self._path}/thumbnails/all", self._filled):
            yield key, base64.b64decode(thumbnail)

    def read_back(self) -> ReadBack:
        return ReadBack(self.described(), self.points)

    def flush(self) -> None:
        """The server has written everything to its disk before it answered."""

    def publish(self, progress: Progress, more: bool = False) -> None:
        attempt = uuid.uuid4().hex
        with progress("publishing", None):
            while not self._ask("publish", {"attempt": attempt, "more": more})["published"]:
                pass
        self.needs_publishing = False

    def close(self) -> None:
        self._connection.post(f"{self._path}/close", {})

    def _changed(self) -> None:
        self.needs_publishing, self.state = True, None

    def _ask(self, what: str, fields: Mapping[str, object]) -> Any:
        return self._connection.post(f"{self._path}/{what}", {**self._filled, **fields}, self._patience)

    def _send_model(self, model: ModelRef, file: Path) -> None:
        """Send the file of a model that the server does not have, and its text tower."""
        if not file.is_file():
            raise UsageError(
                f"{self._connection.address} has no file of the model {model.described}, nor has this machine"
            )
        self._send("model", model.sha256, file)
        if (tower := own_text_tower(file)) is not None:
            self._send("text", model.sha256, tower)

    def _send(self, part: Part, sha256: str, file: Path) -> None:
        data = file.read_bytes()
        for start in range(0, len(data), _PIECE):
            piece = {"start": start, "last": start + _PIECE >= len(data)}
            content = data[start : start + _PIECE]
            self._connection.ask("PUT", f"/v1/models/{sha256}/{part}", piece, content, self._patience)


def _point(answer: Mapping[str, Any]) -> Point:
    parts = {"vector": vector_of(answer["vector"]), "thumbnail": base64.b64decode(answer["thumbnail"])}
    return Point(**{**answer, **parts})
