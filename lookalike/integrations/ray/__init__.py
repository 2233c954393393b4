"""Images to vectors on many machines: Ray Data reads, schedules and starts again; here is what it is given to do."""

from lookalike.integrations.ray.embed import EmbedOptions, Summary, embed

__all__ = ["EmbedOptions", "Summary", "embed"]
