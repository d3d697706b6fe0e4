"""What was trained: ``model``, what its numbers mean (``target``), the ``ranges`` of its inputs, and its file."""
