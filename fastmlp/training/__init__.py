"""Training: ``plan`` decides what becomes of the data, ``loop`` takes the steps of one network.

Beside them: ``scaling`` and ``augment`` for the inputs, ``batches`` and ``optimizers`` for the steps, ``find_lr`` for a rate,
``parallel`` for several processes, ``checkpoint`` and ``metrics`` for what a run leaves on disk."""
