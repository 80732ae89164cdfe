"""The parts of the `replay` command: files, simulation, advice, report, table and pictures."""
