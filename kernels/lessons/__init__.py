"""From NumPy to fused kernels in six lessons, each of which changes one thing in the same training step.

    python -m kernels.lessons            # time them all

The step is that of a network of 784-256-10 units on 128 images, by plain gradient descent on the summed cross-entropy:
forward, loss, backward, update. Every lesson is a short file with a function ``step(X, labels, W1, W2, lr)`` that
updates the weights in place and returns the loss; what a lesson does not change it takes from the lesson before.

    lesson0_numpy     what the notebook does
    lesson1_loops     plain loops, compiled: no temporary arrays, and an order of loops that the compiler can vectorise
    lesson2_vectors   explicit vectors: sums that stay in registers
    lesson3_tiles     register tiles and packing: a matrix product near the peak of the core
    lesson4_fused     ReLU and the update at the end of a product: what is in registers is not stored to be read again
    lesson5_zeros     four fifths of MNIST's pixels are zeros: they are left out
    lesson6_threads   two threads and more, with the same bits

Legend: X [B, I] images, labels [B] classes, W1 [I, H], W2 [H, O]; Y = max(X W1, 0), Z = Y W2, dZ and dY the gradients
of the loss with respect to Z and to X W1. All arrays are C-contiguous. To keep the code short, B, I and H are multiples
of 8, and H of eight vectors (128 float32 with AVX-512); the library takes any size.
"""
