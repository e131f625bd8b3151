"""From a backbone to a sealed ONNX file."""
