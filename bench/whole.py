"""A peer's whole process: import, read MNIST, train an epoch, test, print accuracy. Timed from outside, by claims.py.

python bench/whole.py FAMILY DIRECTORY THREADS
"""

import sys

import numpy as np

import workloads
from peers import find

if __name__ == "__main__":
    family, directory, threads = sys.argv[1:]
    from fastmlp.data import load

    data = load(directory)
    work = workloads.recipe(data)
    (make, *_), _ = find([family])
    peer = make(work, int(threads))
    peer.load(work.initial_layers())
    peer.epoch(np.random.default_rng(0), workloads.one_cycle(work, 1)[0])
    print(workloads.test_accuracy(peer, data))
