"""Conversion of a backbone to a sealed ONNX file."""
