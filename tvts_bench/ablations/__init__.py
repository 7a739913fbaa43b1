"""Grids of pretraining runs and their evaluations: which cells there are, and what runs them.

From a grid to numbers, each module one step: grids (what is varied, and how long it trains) -> plan (cells, by the
content of their configuration) -> commands (the stages of a cell, and one command run) -> jobs (one cell, under its
lock) -> local and slurm (run many). status reads how far they are, outdated finds what has to run again. What lies on
disk meanwhile and afterwards is read and written by `tvts_bench.results.grids`.
"""
