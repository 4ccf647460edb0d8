"""all-MiniLM-L6-v2 in 8 bits; there is no code here, only a file."""
