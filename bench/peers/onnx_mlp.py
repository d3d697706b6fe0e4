"""ONNX Runtime's prediction."""

import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from . import Peer


class Session(Peer):
    label = "ONNX Runtime"
    trains = ()

    def load(self, layers):
        nodes, weights, name = [], [], "X"
        for l, (W, b) in enumerate(layers):
            weights += [numpy_helper.from_array(W.copy(), f"W{l}"), numpy_helper.from_array(b.copy(), f"b{l}")]
            nodes.append(helper.make_node("Gemm", [name, f"W{l}", f"b{l}"], [name := f"Z{l}"]))
            if l + 1 < len(layers):
                nodes.append(helper.make_node("Relu", [name], [name := f"Y{l}"]))
        ends = [
            helper.make_tensor_value_info(end, TensorProto.FLOAT, ["B", width])
            for end, width in (("X", len(layers[0][0])), (name, layers[-1][0].shape[1]))
        ]
        graph = helper.make_graph(nodes, "mlp", ends[:1], ends[1:], weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        self.session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def predict(self, X):
        return self.session.run(None, {"X": X})[0]
