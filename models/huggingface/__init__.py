"""The layouts in which Hugging Face `transformers` keeps the weights of our systems: one file a system."""
