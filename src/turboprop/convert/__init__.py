"""Checkpoints into GGUF files that llama.cpp and this package read."""
