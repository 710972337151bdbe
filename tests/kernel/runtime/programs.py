"""Random task programs, and their execution on the real runtime.

A program is a tuple of operations; an operation is a tuple (name, arguments...). `model.py` runs
the same programs by a naive reading of the same rules; both produce a trace of what completed,
when and with which result.
"""

from hypothesis import strategies as st

from kernel.runtime import Cancelled, Channel, Future, Runtime, TaskCrashed, TimedOut

CAPACITIES = (None, 0, 1)


class Boom(Exception):
    """What programs raise."""


# Strategies. Durations are small, so that many things happen at one instant. Each program uses a
# few kinds of operations only, so that they meet often.

_index = st.integers(0, 1)
_channel = st.integers(0, 2)
_duration = st.integers(0, 3)
_task = st.integers(0, 5)

ACTS = {
    "set": (_index,),
    "clear": (_index,),
    "put_nowait": (_channel,),
    "close": (_channel,),
    "answer": (_index,),
    "fail": (_index,),
    "cancel": (_index,),
    "cancel_task": (_task,),
}
WAITS = {
    "sleep": (_duration,),
    "until": (st.integers(0, 6),),
    "checkpoint": (),
    "wait": (_index,),
    "put": (_channel,),
    "get": (_channel,),
    "get_nowait": (_channel,),
    "ask": (_index,),
    "join": (_task,),
    "raise": (),
}
_BODY, _BODIES = object(), object()
BLOCKS = {
    "spawn": (_BODY,),
    "group": (_BODY, _BODIES),
    "lock": (_index, _BODY),
    "permit": (_BODY,),
    "timeout": (_index, _duration, _BODY),
    "try_timeout": (_index, _duration, _BODY),
    "scope": (_index, _BODY),
    "shield": (_index, _BODY),
    "catch": (_BODY,),
    "swallow": (_BODY,),
    "finally": (_BODY, _BODY),
}


def _operations(names, depth):
    """Operations of these kinds; blocks nest at most `depth` deep, and half of all are blocks."""
    plain = [
        st.tuples(st.just(name), *arguments)
        for name, arguments in (ACTS | WAITS).items()
        if name in names
    ]
    blocks = []
    if depth:
        body = st.lists(_operations(names, depth - 1), min_size=1, max_size=4).map(tuple)
        parts = {_BODY: body, _BODIES: st.lists(body, min_size=1, max_size=3).map(tuple)}
        blocks = [
            st.tuples(st.just(name), *(parts.get(argument, argument) for argument in arguments))
            for name, arguments in BLOCKS.items()
            if name in names
        ]
    kinds = [st.one_of(kind) for kind in (plain, blocks) if kind]
    return st.sampled_from(kinds).flatmap(lambda kind: kind)


def _some(table, least, most):
    return st.lists(st.sampled_from(list(table)), min_size=least, max_size=most, unique=True)


def _programs(names):
    body = st.lists(_operations(names, 3), min_size=1, max_size=4).map(tuple)
    return st.lists(body, min_size=2, max_size=4).map(tuple)


programs = st.tuples(_some(ACTS, 0, 3), _some(WAITS, 1, 3), _some(BLOCKS, 1, 4)).flatmap(
    lambda names: _programs([name for some in names for name in some])
)
inputs = st.lists(
    st.tuples(st.integers(0, 3), st.none() | _operations(list(ACTS), 0)), max_size=5
).map(tuple)


class Execution:
    """Runs one program on the real runtime."""

    def __init__(self):
        self.rt = Runtime()
        self.trace = []
        self.events = [self.rt.event() for _ in range(2)]
        self.locks = [self.rt.lock() for _ in range(2)]
        self.channels: list[Channel[int]] = [self.rt.channel(capacity) for capacity in CAPACITIES]
        self.futures: list[Future[int]] = [self.rt.future() for _ in range(2)]
        self.permits = self.rt.semaphore(1)
        self.scopes = {}
        self.spawned = []
        self.items = 0

    def log(self, *what):
        self.trace.append((self.rt.now(), *what))

    def new_item(self):
        self.items += 1
        return self.items

    def act(self, name, operation):
        """Operations that don't wait: tasks do them, and inputs too. True when it was one."""
        match operation:
            case ("set", i):
                self.events[i].set()
            case ("clear", i):
                self.events[i].clear()
            case ("close", i):
                self.channels[i].close()
            case ("cancel", i):
                if i in self.scopes:
                    self.scopes[i].cancel()
            case ("cancel_task", i):
                if i < len(self.spawned):
                    self.spawned[i].scope.cancel()
            case ("put_nowait", i):
                try:
                    self.channels[i].put_nowait(self.new_item())
                except Exception as error:
                    self.log(name, "put_nowait", type(error).__name__)
            case ("answer", i):
                self.log(name, "answer", self.futures[i].set_result(self.new_item()))
            case ("fail", i):
                self.log(name, "fail", self.futures[i].set_error(Boom()))
            case _:
                return False
        return True

    async def run(self, name, program):
        for number, operation in enumerate(program):
            if not self.act(name, operation):
                result = await self.do(f"{name}.{number}", operation)
                self.log(name, number, operation[0], result)

    async def do(self, name, operation):
        rt = self.rt
        match operation:
            case ("sleep", duration):
                await rt.sleep(duration)
            case ("until", instant):
                await rt.sleep_until(instant)
            case ("checkpoint",):
                await rt.checkpoint()
            case ("wait", i):
                await self.events[i].wait()
            case ("put", i):
                await self.channels[i].put(self.new_item())
            case ("get", i):
                return await self.channels[i].get()
            case ("get_nowait", i):
                return self.channels[i].get_nowait()
            case ("ask", i):
                return await self.futures[i]
            case ("join", i):
                if i < len(self.spawned):
                    await self.spawned[i].wait()
                    return self.spawned[i].cancelled
            case ("raise",):
                raise Boom
            case _:
                return await self.block(name, operation)
        return None

    async def block(self, name, operation):
        rt = self.rt
        match operation:
            case ("spawn", body):
                self.spawned.append(rt.spawn(self.run(name, body), name))
            case ("group", body, children):
                group = rt.group()
                try:
                    async with group:
                        for number, child in enumerate(children):
                            child_name = f"{name}/{number}"
                            task = group.spawn(self.run(child_name, child), child_name)
                            self.spawned.append(task)
                        await self.run(name, body)
                finally:
                    self.log(name, "group", len(group.others))
            case ("lock", i, body):
                async with self.locks[i]:
                    await self.run(name, body)
            case ("permit", body):
                async with self.permits:
                    await self.run(name, body)
            case ("timeout", i, duration, body):
                return await self.scoped(name, body, i, rt.timeout(duration))
            case ("try_timeout", i, duration, body):
                try:
                    return await self.scoped(name, body, i, rt.timeout(duration))
                except TimedOut:
                    return "TimedOut"
            case ("scope", i, body):
                return await self.scoped(name, body, i, rt.scope())
            case ("shield", i, body):
                return await self.scoped(name, body, i, rt.shield())
            case ("catch", body):
                try:
                    await self.run(name, body)
                except Exception as error:
                    return type(error).__name__
            case ("swallow", body):
                try:
                    await self.run(name, body)
                except Cancelled:
                    return "cancelled"
            case ("finally", body, cleanup):
                try:
                    await self.run(name, body)
                finally:
                    self.log(name, "finally")
                    await self.run(name, cleanup)
        return None

    async def scoped(self, name, body, i, scope):
        with scope:
            self.scopes[i] = scope
            await self.run(name, body)
        return scope.absorbed

    def drive(self, call, *arguments):
        """Call the runtime again after each crash."""
        while True:
            try:
                return call(*arguments)
            except TaskCrashed as crash:
                self.log("crash", type(crash.__cause__).__name__)

    def result(self, program, steps):
        """Trace, and the names of the tasks that wait for ever."""
        rt = self.rt
        for number, body in enumerate(program):
            self.spawned.append(rt.spawn(self.run(f"t{number}", body), f"t{number}"))
        self.drive(rt.run_ready)
        stamp = 0
        for gap, operation in steps:
            stamp += gap
            rt.set_time(stamp, stamp)
            self.drive(rt.fire_due, stamp, False)
            if operation is not None:
                self.act("input", operation)
            self.drive(rt.run_ready)
            self.drive(rt.fire_due, stamp, True)
        while (deadline := rt.next_deadline()) is not None:
            rt.set_time(deadline, deadline)
            self.drive(rt.fire_due, deadline, True)
        outcome = list(self.trace), [task.name for task in rt.tasks]
        rt.close()
        return outcome
