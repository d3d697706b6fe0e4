"""The notebook's step, in float32: each line is an array that goes to memory and comes back."""

import numpy as np


def step(X, labels, W1, W2, lr):
    # Forward.
    Y = np.maximum(X @ W1, 0)
    Z = Y @ W2
    # Loss: -log softmax(Z) at the label; its gradient is softmax(Z) - onehot(label).
    E = np.exp(Z - Z.max(1, keepdims=True))
    P = E / E.sum(1, keepdims=True)
    rows = np.arange(len(labels))
    loss = -np.log(P[rows, labels]).sum()
    dZ = P
    dZ[rows, labels] -= 1
    # Backward. Z = Y @ W2  =>  dW2 = Y.T @ dZ, dY = dZ @ W2.T
    dY = (dZ @ W2.T) * (Y > 0)
    # Update.
    W2 -= lr * (Y.T @ dZ)
    W1 -= lr * (X.T @ dY)
    return loss
