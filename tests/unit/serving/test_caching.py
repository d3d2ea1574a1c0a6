from __future__ import annotations

import asyncio

import pytest

from scoreline.errors import NotFound, Overloaded
from scoreline.serving.caching import Newest, TimedCache


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


def test_the_newest_value_was_asked_for_after_the_caller_came():
    async def scene():
        cache, world = Newest(8, 10.0), {"value": 0, "asked": 0}

        async def ask():
            world["asked"] += 1
            seen = world["value"]
            await asyncio.sleep(0.02)
            return seen

        early = asyncio.create_task(cache.get("k", ask))
        await asyncio.sleep(0.01)
        world["value"] = 1  # while the first call is under way
        late = [asyncio.create_task(cache.get("k", ask)) for _ in range(5)]
        await asyncio.sleep(0.015)
        world["value"] = 2  # while the call that those five share is under way
        latest = [asyncio.create_task(cache.get("k", ask)) for _ in range(5)]
        assert await early == 0
        assert await asyncio.gather(*late) == [1] * 5
        assert await asyncio.gather(*latest) == [2] * 5
        assert world["asked"] == 3
        assert await cache.get("k", ask) == 2
        assert world["asked"] == 4

    asyncio.run(scene())


def test_what_was_said_lately_is_good_while_the_source_is_overloaded():
    async def scene():
        cache, state = Newest(1, 0.1), {"error": None}

        async def ask():
            if state["error"]:
                raise state["error"]
            return "value"

        assert await cache.get("k", ask) == "value"
        state["error"] = Overloaded("away")
        assert await cache.get("k", ask) == "value"
        with pytest.raises(Overloaded):
            await cache.get("other", ask)
        await asyncio.sleep(0.12)
        with pytest.raises(Overloaded):
            await cache.get("k", ask)
        state["error"] = None
        assert await cache.get("k", ask) == "value"
        state["error"] = NotFound("gone")
        with pytest.raises(NotFound):
            await cache.get("k", ask)
        state["error"] = Overloaded("away")
        with pytest.raises(Overloaded):
            await cache.get("k", ask)

    asyncio.run(scene())


def test_a_caller_who_leaves_takes_nothing_from_the_others():
    async def scene():
        cache, source = Newest(8, 1.0), Source()
        first = asyncio.create_task(cache.get("k", source))
        await asyncio.sleep(0)
        second, third = (asyncio.create_task(cache.get("k", source)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        second.cancel()
        assert await third == 2
        assert await cache.get("k", source) == 3

    asyncio.run(scene())
