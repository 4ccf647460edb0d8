"""Tokenizers, and what a stranger's tokenizer may cost."""
