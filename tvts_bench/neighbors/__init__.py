"""Exact nearest neighbours by cosine: FAISS finds candidates, float64 decides, equal ones rank by id. No torch."""

from tvts_bench.neighbors.exact_scores import EmbeddingSet, Neighbors
from tvts_bench.neighbors.faiss_search import check_faiss
from tvts_bench.neighbors.search import nearest

__all__ = ["EmbeddingSet", "Neighbors", "check_faiss", "nearest"]
