"""The rows that tables have on the embedded world: the backbones that are shipped, and controls."""

from tvts_bench.tables.base import Row

GROUP = "embedded world"

TVTS = Row(name="TVTS (shipped)", group=GROUP, backbone="tvts:scripted_motion_tiny")
TWIN = Row(name="L_base only (twin)", group=GROUP, backbone="tvts:scripted_motion_tiny_l_base")
RANDOM = Row(name="random initialisation", group=GROUP, backbone="tvts:tiny")
PIXELS = Row(name="pixels (mean colours)", group=GROUP, backbone="pixels")
