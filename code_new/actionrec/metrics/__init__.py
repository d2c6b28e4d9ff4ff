"""From scores to figures: average precision, head / middle / tail, floors, ensemble over views.

N clips, C classes. scores (N, C): the higher, the more likely; targets (N, C): 0 or 1. Everything
here is numpy; CPU tensors are taken as they are.
"""

from actionrec.metrics.average_precision import average_precision, get_map

__all__ = ["average_precision", "get_map"]
