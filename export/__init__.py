"""`cbir-export`: from backbones to verified, self-describing ONNX files."""
