"""Bytes, paths, folders, archives and URLs to upright pictures and facts about them."""
