"""The files of an embedded index, by name.

ROOT/cbir.json                           marks an index folder
ROOT/COLLECTION/current                  the pointer: the served generation, and its manifest's SHA-256
ROOT/COLLECTION/000001/manifest.json     the generation's counts, model, engines, and the hashes of all files
ROOT/COLLECTION/000001/model.onnx        the model that made the vectors
ROOT/COLLECTION/000001/log/              the vector log, from which every engine is built
ROOT/COLLECTION/000001/edge/, faiss/     the engines, by name
ROOT/COLLECTION/journal.sqlite           the outcome of every image; only a hint, as the log has the points
ROOT/COLLECTION/building/                the next generation while an ingest builds it; never read by a search
ROOT/COLLECTION/building.json            what that is made of; it stays, as a copy of what the manifest says
"""

FORMAT = 1
POINTER = "current"
BUILDING = "building"
PLAN = "building.json"
VIEWS = "views"
LOCK = "lock"
MANIFEST = "manifest.json"
MODEL = "model.onnx"
LOG = "log"
JOURNAL = "journal.sqlite"
RESERVED = frozenset({LOG, BUILDING, VIEWS, LOCK, POINTER})
"""Names in a collection's folder that an index must not have."""
