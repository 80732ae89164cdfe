"""What a message costs: how it is priced, with which tokenizer, and remembered."""
