"""Our own kernels for x86-64 processors with AVX2 or more, and what brings a checkpoint to them."""
