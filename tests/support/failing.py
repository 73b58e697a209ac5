"""A pipeline whose only task fails. KFP reads annotations as they are, so this module keeps them from becoming texts."""

from collections.abc import Callable

from kfp import dsl


def failing(image: str) -> Callable[[], object]:
    """The pipeline, with its task in a container of this image."""

    @dsl.component(base_image=image, install_kfp_package=False)
    def fails() -> None:
        raise SystemExit(3)

    @dsl.pipeline(name="fails")
    def pipeline() -> None:
        fails()

    return pipeline
