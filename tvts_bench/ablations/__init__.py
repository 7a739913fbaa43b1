"""Grids of pretraining runs and their evaluations: which cells there are, and what runs them.

From a grid to numbers, each module one step: grids and scales (what is varied, how long it trains) -> plan (cells, by
the content of their configuration) -> stages (the commands of a cell) -> jobs (run one cell, under a claim) -> local
and slurm (run many). `cells` is what lies on disk meanwhile and afterwards, `standing` what can be said of it.
"""
