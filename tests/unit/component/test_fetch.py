"""Images that DVC keeps in a real S3 store, fetched where there is no repository."""

from __future__ import annotations

import pytest

from components.fetch import FetchError, tracked


def test_an_address_has_the_form_of_dvc() -> None:
    assert tracked(f"s3://b/c/files/md5/a7/{'0' * 30}.dir").md5 == f"a7{'0' * 30}.dir"
    assert tracked(f"s3://b/c/files/md5/a7/{'0' * 30}").remote == "s3://b/c"
    for other in ("s3://b/images", f"s3://b/files/md5/a7/{'0' * 29}", ""):
        with pytest.raises(FetchError, match="not an object of a DVC remote"):
            tracked(other)
