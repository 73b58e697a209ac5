"""What is refused for there being too much of it: the bucket alone, the queue alone, and both seen from outside."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from atelier.serving.limits import Bucket, Limits, Refused
from atelier.serving.metrics import Metrics
from atelier.serving.worker import ImageWorker


def test_a_bucket_refills_at_its_rate_and_holds_no_more_than_it_can() -> None:
    now = [100.0]
    bucket = Bucket(rate=4, capacity=10, clock=lambda: now[0])
    assert [bucket.take(6), bucket.take(4), bucket.take(1)] == [0, 0, 1]
    assert bucket.take(10) == 3  # 2.5 s
    now[0] += 2.5
    assert [bucket.take(10), bucket.take(1)] == [0, 1]
    now[0] += 1000
    assert [bucket.take(10), bucket.take(1)] == [0, 1]


def test_who_finds_the_queue_full_is_refused_at_once_and_takes_nothing_from_the_bucket() -> None:
    metrics, go = Metrics(), threading.Event()
    worker = ImageWorker(Limits(body=1, images=4, rate=0.001, queue=2), metrics)

    async def run(images: int, work: Callable[[], str]) -> str:
        with worker.admitted(images):
            return await worker.generate(work)

    alive: list[str] = []

    def work(name: str) -> str:
        alive.append(threading.current_thread().name)
        go.wait(60)
        return name

    async def main() -> list[str]:
        inside = [asyncio.create_task(run(1, lambda name=name: work(name))) for name in ("a", "b")]  # type: ignore[misc]
        await asyncio.sleep(0.2)  # the loop goes on while the thread is busy
        with pytest.raises(Refused, match="2 requests are waiting") as full:
            await run(2, lambda: work("c"))
        assert (full.value.status, full.value.reason, full.value.retry_after) == (503, "queue", 1)
        assert len(alive) == 1, "one is generated, one waits"
        go.set()
        answers = await asyncio.gather(*inside)
        answers.append(await run(2, lambda: work("d")))
        with pytest.raises(Refused, match=r"no more than 0\.001 images/s") as fast:
            await run(1, lambda: work("e"))
        assert (fast.value.status, fast.value.reason) == (429, "rate") and fast.value.retry_after is not None
        assert 900 < fast.value.retry_after <= 1000
        return answers

    assert asyncio.run(main()) == ["a", "b", "d"]
    assert len(set(alive)) == 1
    text = metrics.text().decode()
    assert "atelier_images_total 4.0" in text and "atelier_requests_inside 0.0" in text


def test_work_that_fails_leaves_the_queue() -> None:
    worker = ImageWorker(Limits(body=1, images=4, rate=100, queue=1), Metrics())

    async def main() -> int:
        for _ in range(3):
            with pytest.raises(ZeroDivisionError), worker.admitted(1):
                await worker.generate(lambda: 1 // 0)
        with worker.admitted(1):
            return await worker.look(lambda: 7)

    assert asyncio.run(main()) == 7


def test_what_is_looked_at_keeps_no_picture_waiting() -> None:
    worker, go = ImageWorker(Limits(body=1, images=4, rate=100, queue=2), Metrics()), threading.Event()

    async def main() -> list[str]:
        looking = asyncio.create_task(worker.look(lambda: "looked" if go.wait(60) else "never"))
        await asyncio.sleep(0)
        answers = [await worker.generate(lambda: "generated")]
        go.set()
        return [*answers, await looking]

    assert asyncio.run(main()) == ["generated", "looked"]
