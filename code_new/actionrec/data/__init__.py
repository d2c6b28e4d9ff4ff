"""From annotations and files to batches.

DATASETS says which data sets our engine reads: the name in TRAIN.DATASET and TEST.DATASET, in
lower case, to a function `(path of a split's annotation, DataSettings) -> ClipTable`.
"""

from __future__ import annotations

from actionrec.registry import Registry

DATASETS = Registry(
    "dataset",
    {
        "animalkingdom": "actionrec.data.splits:charades_csv",
        "charades": "actionrec.data.splits:charades_csv",
    },
)
