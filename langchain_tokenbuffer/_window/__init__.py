"""Which messages of a conversation stay: the decision in numbers, and the driver that follows it."""
