"""Models: the sealed ONNX file, runtime sessions and the embedder."""
