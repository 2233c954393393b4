"""The exit status that is told in more than one place."""

INTERRUPTED = 130
"""Of a command that Ctrl-C ended, as the shell gives it, and typer."""
