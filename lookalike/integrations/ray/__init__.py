"""Images to vectors on many machines: Ray Data reads, schedules and retries the tasks defined here."""

from lookalike.integrations.ray.embed import EmbedOptions, Summary, embed

__all__ = ["EmbedOptions", "Summary", "embed"]
