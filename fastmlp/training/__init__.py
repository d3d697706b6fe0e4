"""Training: ``plan`` decides what becomes of the data, ``loop`` takes the steps of one network.

``scaling`` and ``augment`` prepare inputs; ``batches`` and ``optimizers`` serve the steps; ``find_lr`` finds a learning
rate; ``parallel`` joins several processes; ``checkpoint`` and ``metrics`` read and write a run's files."""
