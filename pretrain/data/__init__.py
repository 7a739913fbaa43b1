"""Narrated video: transcripts, their alignment to the clock, segments, captions, and batches of them."""
