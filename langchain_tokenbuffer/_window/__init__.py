"""Which messages stay: the decision in numbers, and the one driver that follows it."""
