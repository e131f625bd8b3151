"""The devices that can run a model, and the precisions of its calculation. Imports nothing, for the command lines."""

from typing import Literal

Device = Literal["cpu", "openvino", "openvino-bf16", "cuda", "tensorrt", "coreml", "directml"]
DeviceChoice = Literal["auto", Device]
"""auto: the fastest that gives the same vectors."""

Arithmetic = Literal["fp32", "int8"]
PrecisionChoice = Literal["auto", Arithmetic]
"""auto: that of the collection; for a new one int8 where it is much faster."""
