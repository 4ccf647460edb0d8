"""Models of the Hugging Face hub: downloads and its cache."""
