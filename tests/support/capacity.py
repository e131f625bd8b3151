"""What a measurement for `cbir-bench plan` may find."""

from cbir.bench.capacity.plan import Options
from cbir.bench.capacity.probe import ImageCosts, IndexCosts

IMAGES = ImageCosts("made up", 100, 0.01, 6_000.0, 150.0)
EDGE = IndexCosts("edge", 20_000, 8.0, 25e6, "graph")
FLAT = IndexCosts("faiss Flat", 20_000, 1.0, 20e6, "scan")
OPTIONS = Options(256, None, 128)
