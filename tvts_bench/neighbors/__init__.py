"""Exact nearest neighbours by cosine: FAISS finds candidates, float64 decides, equal ones rank by id. No torch."""

from tvts_bench.neighbors.base import Embedded, FaissMissingError, NeighborError, Neighbors
from tvts_bench.neighbors.candidates import check_faiss
from tvts_bench.neighbors.search import nearest

__all__ = ["Embedded", "FaissMissingError", "NeighborError", "Neighbors", "check_faiss", "nearest"]
