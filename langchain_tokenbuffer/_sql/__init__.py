"""The SQL history's rooms: tables, rows, engines, sessions, how a window moves, imports."""
