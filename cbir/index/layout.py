"""The files of an embedded index, by name.

ROOT/cbir.json                           marks an index folder
ROOT/COLLECTION/current                  the pointer: the served generation, its manifest's SHA-256, and the tail
ROOT/COLLECTION/000001/manifest.json     the generation's counts, model, engines, and the hashes of all files
ROOT/COLLECTION/000001/model.onnx        the model that made the vectors
ROOT/COLLECTION/000001/text.onnx         its text tower, if it has one that is not packaged
ROOT/COLLECTION/000001/log/              the vector log, from which every engine is built
ROOT/COLLECTION/000001/edge/, faiss/     the engines, by name
ROOT/COLLECTION/tail/000002.log          the log's segments since then: what was added, replaced and deleted
ROOT/COLLECTION/making/, merging/        the next generation while its engines are built
ROOT/COLLECTION/growing/                 the engines of the first one, while images are embedded
ROOT/COLLECTION/journal.sqlite           the outcome of every image; only a hint, as the log has the points
ROOT/COLLECTION/building/                what an ingest has written and not yet published; never read by a search
ROOT/COLLECTION/building.json            what that is made of; it stays, as a copy of what the manifest says
"""

FORMAT = 1
POINTER = "current"
BUILDING = "building"
PLAN = "building.json"
TAIL = "tail"
MERGING = "merging"
MAKING = "making"
GROWING = "growing"
VIEWS = "views"
LOCK = "lock"
MERGE_LOCK = "lock.merge"
POINTER_LOCK = "lock.pointer"
MANIFEST = "manifest.json"
MODEL = "model.onnx"
LOG = "log"
JOURNAL = "journal.sqlite"
RESERVED = frozenset({LOG, TAIL, BUILDING, VIEWS, LOCK, POINTER})
"""Names in a collection's folder that an index must not have."""
