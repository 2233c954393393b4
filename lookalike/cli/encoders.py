"""The command that lists encoders, and fetches their weights."""
