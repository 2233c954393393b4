"""Images to vectors on many machines: Ray Data reads, schedules and starts again; here is what it is given to do."""

from lookalike.integrations.ray.embed import Options, Summary, embed

__all__ = ["Options", "Summary", "embed"]
