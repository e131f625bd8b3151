"""A route that does the least: `python -m cbir.bench.http_api.bare STORE COLLECTION PORT`.

It parses a vector, asks the store, and writes ids and scores. What `cbir-serve` adds to it are keys, limits, checks,
request ids, payloads, metrics and a log.
"""

import sys

import orjson
import uvicorn
from fastapi import FastAPI, Request, Response

from cbir.records import vector_of
from cbir.settings import Settings
from cbir.stores.registry import open_store


def app_of(store_url: str, collection: str) -> FastAPI:
    """Return the application."""
    store = open_store(store_url, collection, Settings())
    app = FastAPI()

    @app.get("/readyz")
    async def ready() -> Response:
        return Response()

    @app.post("/search")
    async def search(request: Request) -> Response:
        body = orjson.loads(await request.body())
        vector = vector_of(body["vector"])
        (hits,) = store.search(vector[None], body["limit"])
        return Response(orjson.dumps([(hit.id, hit.score) for hit in hits]), media_type="application/json")

    return app


if __name__ == "__main__":
    uvicorn.run(app_of(sys.argv[1], sys.argv[2]), port=int(sys.argv[3]), log_level="critical", access_log=False)
