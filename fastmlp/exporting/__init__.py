"""Models for other programs: ONNX (``graph``, ``network``, ``tables``), and a ``page`` to draw digits on."""
