"""What only the memory needs: its own store, and how its string is counted."""
