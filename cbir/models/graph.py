"""Refuses a model file whose graph could do more than turn images into vectors in bounded memory and time.

Its operators must be in `FIRST_SIZE`: none of them loops, reads files or is random. No shape may depend on what an
image shows. All batches of one size then take the same memory and time, so that one trial run can measure both.
"""

from types import MappingProxyType

from cbir.models.protobuf import parts, texts, values

_SIZES_IN_ALL_INPUTS = "ConstantOfShape Range"
_SIZES_IN_LATER_INPUTS = (
    "CumSum Expand Pad ReduceL1 ReduceL2 ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum"
    " ReduceSumSquare Reshape Resize Slice Split Squeeze Tile TopK Trilu Unsqueeze"
)
_SIZED_BY_SHAPES = (
    "Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast Ceil Clip Concat Constant Conv ConvTranspose Cos"
    " DepthToSpace DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp Flatten Floor Gather GatherElements GatherND"
    " Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization HardSigmoid"
    " HardSwish Identity InstanceNormalization LRN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax"
    " LpNormalization LpPool MatMul Max MaxPool Mean Min Mish Mod Mul Neg Not Or PRelu Pow QuantizeLinear"
    " RMSNormalization Reciprocal Relu Round ScatterElements ScatterND Selu Sigmoid Sign Sin Softmax Softplus Softsign"
    " SpaceToDepth Sqrt Sub Sum Swish Tanh ThresholdedRelu Transpose Where Xor"
)
_MEASURES = ("Shape", "Size")
FIRST_SIZE = MappingProxyType(
    dict.fromkeys(_SIZES_IN_ALL_INPUTS.split(), 0)
    | dict.fromkeys(_SIZES_IN_LATER_INPUTS.split(), 1)
    | dict.fromkeys((*_SIZED_BY_SHAPES.split(), *_MEASURES), None)
)
"""The operators that a model file may have. The inputs from this number on, if any, give the shape of the result."""

# Numbers of fields in onnx.proto.
_GRAPH, _FUNCTIONS = 7, 25
_NODES, _INITIALIZERS, _GRAPH_INPUTS, _SPARSE_INITIALIZERS = 1, 5, 11, 15
_INPUTS, _OUTPUTS, _OPERATOR, _ATTRIBUTES, _DOMAIN = 1, 2, 4, 5, 7
_TENSOR, _TENSORS, _SPARSE_TENSOR, _SPARSE_TENSORS = 5, 10, 22, 23
_DATA_LOCATION = 14


def refusal(data: bytes) -> str | None:
    """Return why the graph in a model file is refused, or None; raise `ValueError` if there is no graph to read."""
    model = memoryview(data)
    graphs = parts(model, _GRAPH)
    nodes = [node for graph in graphs for node in parts(graph, _NODES)]
    operators = {name for node in nodes for name in texts(node, _OPERATOR)}
    domains = {f"{name}.*" for node in nodes for name in texts(node, _DOMAIN) if name not in ("", "ai.onnx")}
    if foreign := sorted((operators - FIRST_SIZE.keys()) | domains):
        return f"its graph has operators that are not allowed: {', '.join(foreign)}"
    if parts(model, _FUNCTIONS):
        return "its graph defines operators of its own"
    attributes = [attribute for node in nodes for attribute in parts(node, _ATTRIBUTES)]
    sparse = [parts(graph, _SPARSE_INITIALIZERS) for graph in graphs]
    sparse += [parts(attribute, field) for attribute in attributes for field in (_SPARSE_TENSOR, _SPARSE_TENSORS)]
    if any(sparse):
        return "its weights are sparse tensors, which are not allowed"
    tensors = [tensor for graph in graphs for tensor in parts(graph, _INITIALIZERS)]
    tensors += [
        tensor for attribute in attributes for field in (_TENSOR, _TENSORS) for tensor in values(attribute, field)
    ]
    if any(any(values(tensor, _DATA_LOCATION)) for tensor in tensors):
        return "its weights are in another file"
    inputs = {name for graph in graphs for value in parts(graph, _GRAPH_INPUTS) for name in texts(value, 1)}
    return _changing_shape([[texts(node, field) for field in (_OPERATOR, _INPUTS, _OUTPUTS)] for node in nodes], inputs)


def _changing_shape(nodes: list[list[list[str]]], images: set[str]) -> str | None:
    """Return why a graph is refused in which a shape depends on the contents of `images`, or None."""
    depending, before = set(images), 0
    while before < len(depending):  # until no more are found, since nodes may be in any order
        before = len(depending)
        for operators, inputs, outputs in nodes:
            operator = operators[-1]
            first = FIRST_SIZE[operator]
            if first is not None and not depending.isdisjoint(inputs[first:]):
                return f"in its graph the result of {operator} has another shape for each image"
            if operator not in _MEASURES and not depending.isdisjoint(inputs):
                depending.update(outputs)
    return None
