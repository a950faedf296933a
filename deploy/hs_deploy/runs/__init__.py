"""Runs on disk: their folders, the copy of a piped input, what was left unfinished, and what may go."""
