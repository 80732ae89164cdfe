"""One model call of an agent: its facts, its plan, its rendering, and the state of its thread."""
