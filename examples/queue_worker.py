"""Queue worker (taskiq): queues run a task again after a crash; the job key of its order is what is charged once."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from taskiq import Context, InMemoryBroker, TaskiqDepends, TaskiqEvents, TaskiqState

import aiowatermark as aw
from aiowatermark.emulator import Emulator, pictures

broker = InMemoryBroker()  # in production taskiq_redis.ListQueueBroker("redis://…"), and workers: `taskiq worker …`

CONTEXT: Context = TaskiqDepends()


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def open_client(state: TaskiqState) -> None:
    """Open one client for the worker's lifetime; in production with `store=aw.RedisStore("redis://…")`."""
    state.stack = AsyncExitStack()
    emulator = state.emulator = await state.stack.enter_async_context(Emulator())
    state.client = await state.stack.enter_async_context(aw.Client(emulator.provider("gptge")))


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def close_client(state: TaskiqState) -> None:
    await state.stack.aclose()


@broker.task
async def clean(order: str, photo: str, context: Context = CONTEXT) -> str:
    """Save the clean photo of an order; as often as the queue runs it, the order's job is charged once."""
    client: aw.Client = context.state.client
    result = await client.remove(photo, key=f"order-{order}")
    return str(await result.save(f"order-{order}-clean.jpg"))


async def main() -> None:
    await broker.startup()
    for number in range(3):
        Path(f"photo-{number}.jpg").write_bytes(pictures.sample_photo(seed=number))
    # the queue delivers each order twice, as after a crash of a worker
    tasks = [await clean.kiq(str(number), f"photo-{number}.jpg") for number in (0, 1, 2) for _ in range(2)]
    for task in tasks:
        print("saved", (await task.wait_result(timeout=30)).return_value)
    print("charged:", broker.state.emulator.charged["gptge"], "for", len(tasks), "tasks")
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
