"""A folder of results as one HTML page that needs nothing else: no network, no other file.

folder.py     what a folder holds: results, tables, grids, curves, and what was left out
groups.py     results of one protocol and data set side by side
charts.py     numbers as pictures that can be read aloud
grids.py, curves.py, run_cards.py     the parts of the page, as plain data
gallery.py, videos.py     queries with their neighbours, and the frames of their videos
page.py       everything into templates/
"""
