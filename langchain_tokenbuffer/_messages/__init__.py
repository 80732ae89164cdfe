"""What one message is, in any dialect: its kind, its calls, and the blocks of its content."""
