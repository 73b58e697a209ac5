"""What is fuzzed: whole inputs of each kind, the code of Atelier that reads them, and what its errors have to name.

A new kind is a class with `build`, which makes the inputs, and `read`; and a line in TARGETS (and in that of __main__).
"""

from __future__ import annotations

from tests.fuzz.http_readers import (
    Http,
    HttpAddress,
    HttpDetect,
    HttpImage,
    HttpJudge,
    HttpSquare,
    HttpUpload,
    HttpVersions,
    HttpWalk,
)
from tests.fuzz.image_readers import (
    Idx,
    KeptPictures,
    MeasuredPictures,
    PackedSet,
    Parquet,
    Parts,
    Pictures,
    Shards,
    Target,
    WholeParts,
    Zip,
)
from tests.fuzz.record_readers import (
    Cache,
    Checkpoint,
    DvcAddress,
    DvcLock,
    EvaluationFolder,
    History,
    Ledger,
    Numbers,
    Params,
    Registration,
    State,
)

TARGETS: dict[str, type[Target]] = {
    "pictures": Pictures,
    "measured_pictures": MeasuredPictures,
    "kept_pictures": KeptPictures,
    "zip": Zip,
    "idx": Idx,
    "parquet": Parquet,
    "manifest": PackedSet,
    "shards": Shards,
    "parts": Parts,
    "whole_parts": WholeParts,
    "checkpoint": Checkpoint,
    "history": History,
    "evaluation": EvaluationFolder,
    "params": Params,
    "state": State,
    "cache": Cache,
    "ledger": Ledger,
    "numbers": Numbers,
    "registration": Registration,
    "dvc_lock": DvcLock,
    "dvc_address": DvcAddress,
    "http_body": Http,
    "http_address": HttpAddress,
    "http_image": HttpImage,
    "http_detect": HttpDetect,
    "http_upload": HttpUpload,
    "http_walk": HttpWalk,
    "http_versions": HttpVersions,
    "http_judge": HttpJudge,
    "http_square": HttpSquare,
}
