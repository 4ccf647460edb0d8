"""The GGUF file format, read without trust."""
