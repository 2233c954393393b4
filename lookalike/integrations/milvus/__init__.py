"""Milvus: the vectors of a collection that has outgrown one machine, in a server, a cluster or Milvus Lite.

The server stands where the vector file and the index stand; the catalog stays with the collection. The same row number
names an image in both, so writing a row twice leaves one row.
"""
