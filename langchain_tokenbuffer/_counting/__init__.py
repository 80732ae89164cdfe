"""The tokens of a message, of tools and of media: who counts them, with which tokenizer."""
