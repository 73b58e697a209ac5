"""Images that DVC tracks, by the address of their content in its remote."""

from __future__ import annotations

from pathlib import Path

from atelier.config.settings import Settings
from atelier.io.storage import S3Storage, StorageError
from components.fetch import tracked
from pipelines.cluster import PipelineError

LOCAL_SOURCES = ("folder", "zip", "idx", "parquet", "webdataset", "lmdb")  # that read a path on this machine


def addresses(settings: Settings) -> dict[str, str]:
    """For each set ("data.base") whose images lie on this machine, where its content is in DVC's remote.

    Raises PipelineError for images that DVC does not track, or that were not pushed.
    """
    return {
        f"data.{name}": address(f"data.{name}", one.path) for name, one in settings.data.items() if one.source in LOCAL_SOURCES
    }


def address(section: str, path: str) -> str:
    """REMOTE/files/md5/... of a path that DVC tracks. Raises PipelineError."""
    import dvc.api
    from dvc.repo import Repo

    where = f"{section}.path {path!r} is on this machine, where no node of the cluster can read it"
    try:
        root = Path(Repo.find_root(path if Path(path).is_dir() else str(Path(path).parent)))
        uri = dvc.api.get_url(str(Path(path).resolve().relative_to(root)), repo=str(root))
    except Exception as error:  # DVC raises almost any kind on damaged files of its own
        why = " ".join(str(error).split()) or type(error).__name__
        raise PipelineError(
            f"{where}, and DVC has no address for it ({why}); `dvc add {path}`, name a remote (dvc remote add -d) and "
            f"`dvc push`, or put the images in a bucket and set {section}.source: s3"
        ) from error
    tracked(uri)
    if uri.startswith("s3://"):
        parent, _, name = uri.rpartition("/")
        try:
            pushed = name in {entry.name for entry in S3Storage(parent).entries()}
        except StorageError as error:
            raise PipelineError(f"{section}.path {path!r}: DVC's remote cannot be read; {error}") from error
        if not pushed:
            raise PipelineError(f"{section}.path {path!r}: its present content is not in DVC's remote yet; `dvc push`")
    return uri
