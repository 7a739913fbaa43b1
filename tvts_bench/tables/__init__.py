"""The paper's tables: what fills each cell, what was published for it, and how a filled table is written.

From declarations to files, each module one step: table1 ... table7 (rows, columns, which protocol on which data set;
types and shared columns in base) -> grids (which results of a grid fill which cell) -> assemble, notes (a filled table,
see model: intervals, tests, differences; and its JSON document) -> layout (the document as text) -> render (Markdown,
LaTeX, CSV, terminal). Results are read by `tvts_bench.results`. Nothing here needs torch: what measures missing cells
is `table_runs`.

A new table is a module with a `TABLE` and its name below.
"""

PLUGINS = ("table1", "table2", "table3", "table4", "table5", "table7")
