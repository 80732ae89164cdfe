"""The replay's rooms: files, transcripts, messages, calls, the sweep, table, picture, page."""
