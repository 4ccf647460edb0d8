"""Our own kernels, for x86-64 and ARM processors, and what brings a checkpoint to them."""
