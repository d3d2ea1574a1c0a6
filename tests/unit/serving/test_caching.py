from __future__ import annotations

import asyncio

import pytest

from scoreline.serving.caching import TimedCache


class Source:
    def __init__(self):
        self.asked = 0

    async def __call__(self):
        self.asked += 1
        await asyncio.sleep(0.01)
        return self.asked


def test_a_value_is_kept_for_its_time_and_asked_for_once_by_many():
    async def scene():
        cache, source = TimedCache(8), Source()
        assert await asyncio.gather(*(cache.get("k", source, lambda _: 0.2) for _ in range(5))) == [1] * 5
        assert await cache.get("k", source, lambda _: 0.2) == 1
        await asyncio.sleep(0.25)
        assert await cache.get("k", source, lambda _: 0.2) == 2

    asyncio.run(scene())


def test_values_for_no_time_and_failures_are_not_kept():
    async def scene():
        cache, source = TimedCache(8), Source()
        assert [await cache.get("k", source, lambda _: 0) for _ in range(2)] == [1, 2]

        async def fail():
            source.asked += 1
            raise OSError("down")

        for _ in range(2):
            with pytest.raises(OSError):
                await cache.get("f", fail, lambda _: 10)
        assert source.asked == 4

    asyncio.run(scene())


def test_the_least_used_makes_room():
    async def scene():
        cache, source = TimedCache(2), Source()
        for key in ("a", "b", "a", "c", "a", "b"):
            await cache.get(key, source, lambda _: 10)
        assert source.asked == 4  # a, b, c, and b again

    asyncio.run(scene())


def test_one_who_leaves_does_not_stop_the_others():
    async def scene():
        cache, source = TimedCache(2), Source()
        first = asyncio.create_task(cache.get("a", source, lambda _: 10))
        second = asyncio.create_task(cache.get("a", source, lambda _: 10))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == 1

    asyncio.run(scene())
