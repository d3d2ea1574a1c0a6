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
        assert await asyncio.gather(*(cache.get("k", source, lambda _: 1) for _ in range(5))) == [1] * 5
        assert await cache.get("k", source, lambda _: 1) == 1
        await asyncio.sleep(1.05)
        assert await cache.get("k", source, lambda _: 1) == 2

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
        cache, values, doors = Newest(8, 10.0), [], [asyncio.Event() for _ in range(4)]

        async def ask():
            values.append(value)
            seen = values[-1]
            await doors[len(values) - 1].wait()
            return seen

        async def callers(count):
            tasks = [asyncio.create_task(cache.get("k", ask)) for _ in range(count)]
            await settle()
            return tasks

        async def settle():
            for _ in range(20):
                await asyncio.sleep(0)

        value = 0
        (early,) = await callers(1)
        value = 1  # while the first call is under way
        late = await callers(5)
        doors[0].set()
        assert await early == 0
        await settle()
        assert values == [0, 1]
        value = 2  # while the call that those five share is under way
        latest = await callers(5)
        doors[1].set()
        assert await asyncio.gather(*late) == [1] * 5
        doors[2].set()
        assert await asyncio.gather(*latest) == [2] * 5
        doors[3].set()
        assert await cache.get("k", ask) == 2
        assert values == [0, 1, 2, 2]

    asyncio.run(scene())


def test_what_was_said_lately_is_good_while_the_source_is_overloaded():
    async def scene():
        cache, state = Newest(1, 1.0), {"error": None}

        async def ask():
            if state["error"]:
                raise state["error"]
            return "value"

        assert await cache.get("k", ask) == "value"
        state["error"] = Overloaded("away")
        assert await cache.get("k", ask) == "value"
        with pytest.raises(Overloaded):
            await cache.get("other", ask)
        await asyncio.sleep(1.05)
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
