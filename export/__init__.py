"""Backbones to verified, self-describing ONNX files."""
