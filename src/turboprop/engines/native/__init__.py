"""Our own kernels for processors with AVX-512 VNNI, and what brings a checkpoint to them."""
