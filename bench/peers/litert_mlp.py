"""LiteRT (TensorFlow Lite) on XNNPACK: prediction of a model that TensorFlow converts."""

import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from . import Peer


class Lite(Peer):
    label = "LiteRT"
    trains = ()

    def load(self, layers):
        @tf.function(input_signature=[tf.TensorSpec([None, len(layers[0][0])])])
        def logits(X):
            for W, b in layers[:-1]:
                X = tf.nn.relu(X @ W + b)
            W, b = layers[-1]
            return X @ W + b

        converter = tf.lite.TFLiteConverter.from_concrete_functions([logits.get_concrete_function()])
        self.interpreter = Interpreter(model_content=converter.convert(), num_threads=self.threads)
        self.rows = 0

    def predict(self, X):
        interpreter = self.interpreter
        if len(X) != self.rows:
            interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], X.shape)
            interpreter.allocate_tensors()
            self.ends = [ends()[0]["index"] for ends in (interpreter.get_input_details, interpreter.get_output_details)]
            self.rows = len(X)
        interpreter.set_tensor(self.ends[0], X)
        interpreter.invoke()
        return interpreter.get_tensor(self.ends[1])
