"""Which models there are, where their bytes are and what is in them."""
