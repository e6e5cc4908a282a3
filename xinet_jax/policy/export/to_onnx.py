"""A policy as ONNX."""

import numpy as np
import onnx
import onnxruntime
from jaxtyping import Float
from onnx import TensorProto, helper, numpy_helper

from xinet_jax.policy.forward import Layer, Network

_OPSET, _IR_VERSION = 17, 8  # of 2022: read by ONNX Runtime since 1.12, TensorRT since 8.5


def encode(network: Network, about: dict[str, str], name: str) -> tuple[bytes]:
    """Returns a model with the input `observation`, `[batch, observation]`, and the output `action`, in float32.

    Args:
      network: the policy.
      about: what it is, which becomes the model's metadata.
      name: the graph's name.
    """
    nodes, weights, x = [], {"scale": network.scale, "offset": network.offset}, "observation"
    for layer in network.layers:
        weights |= {f"{layer.name}.kernel": layer.kernel, f"{layer.name}.bias": layer.bias}
        nodes += _nodes_of(layer, x)
        x = f"{layer.name}.features" if layer.appends else layer.name
    nodes.append(helper.make_node("Mul", [x, "scale"], ["scaled"]))
    nodes.append(helper.make_node("Add", ["scaled", "offset"], ["action"]))
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("observation", TensorProto.FLOAT, ["batch", network.observation])],
        [helper.make_tensor_value_info("action", TensorProto.FLOAT, ["batch", network.action])],
        [numpy_helper.from_array(np.ascontiguousarray(array), key) for key, array in weights.items()],
    )
    model = helper.make_model(
        graph,
        producer_name="xinet_jax",
        producer_version=about["xinet_jax"],
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
    )
    helper.set_model_props(model, about)
    onnx.checker.check_model(model, full_check=True)
    return (model.SerializeToString(),)


def run(content: bytes, observations: Float[np.ndarray, "rows observation"]) -> Float[np.ndarray, "rows action"]:
    """Returns the actions of a model, by ONNX Runtime on the CPU."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(["action"], {"observation": observations})[0]


def _nodes_of(layer: Layer, x: str) -> list[onnx.NodeProto]:
    """Returns the operations of a layer on the tensor `x`; its output has the layer's name."""
    name, before = layer.name, f"{layer.name}.before"
    nodes = [helper.make_node("Gemm", [x, f"{name}.kernel", f"{name}.bias"], [before])]
    if layer.activation == "swish":
        nodes.append(helper.make_node("Sigmoid", [before], [f"{name}.sigmoid"]))
        nodes.append(helper.make_node("Mul", [before, f"{name}.sigmoid"], [name]))
    else:
        nodes.append(helper.make_node({"relu": "Relu", "tanh": "Tanh"}[layer.activation], [before], [name]))
    if layer.appends:
        nodes.append(helper.make_node("Concat", [x, name], [f"{name}.features"], axis=1))
    return nodes
