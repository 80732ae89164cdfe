"""What left the window and matches a question: its terms, its ranking, and how it is quoted."""
