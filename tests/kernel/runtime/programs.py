"""Random task programs, and their execution on the real runtime.

A program is a tuple of operations; an operation is a tuple (name, arguments...). `model.py` runs
the same programs by a naive reading of the same rules; both produce a trace of what completed,
when and with which result.
"""

from hypothesis import strategies as st

from kernel.runtime import Cancelled, Runtime, TaskCrashed, TimedOut

CAPACITIES = (None, 0, 1)


class Boom(Exception):
    """What programs raise."""


# Strategies. Durations are small, so that many things happen at one instant.

_index = st.integers(0, 1)
_instant = st.integers(0, 6)

_outside = st.one_of(
    st.tuples(st.just("set"), _index),
    st.tuples(st.just("clear"), _index),
    st.tuples(st.just("put_nowait"), st.integers(0, 2)),
    st.tuples(st.just("close"), st.integers(0, 2)),
    st.tuples(st.just("answer"), _index),
    st.tuples(st.just("fail"), _index),
    st.tuples(st.just("cancel"), _index),
    st.tuples(st.just("cancel_task"), st.integers(0, 3)),
)
_waiting = st.one_of(
    st.tuples(st.just("sleep"), st.integers(0, 3)),
    st.tuples(st.just("until"), _instant),
    st.tuples(st.just("checkpoint")),
    st.tuples(st.just("wait"), _index),
    st.tuples(st.just("put"), st.integers(0, 2)),
    st.tuples(st.just("get"), st.integers(0, 2)),
    st.tuples(st.just("ask"), _index),
    st.tuples(st.just("join"), st.integers(0, 3)),
)
_failing = st.one_of(
    st.tuples(st.just("get_nowait"), st.integers(0, 2)),
    st.tuples(st.just("raise")),
)
_plain = st.one_of(_waiting, _waiting, _waiting, _outside, _outside, _failing)


def _blocks(operations):
    body = st.lists(operations, min_size=1, max_size=4).map(tuple)
    bodies = st.lists(body, min_size=1, max_size=3).map(tuple)
    duration = st.integers(0, 3)
    return st.one_of(
        st.tuples(st.just("spawn"), body),
        st.tuples(st.just("group"), body, bodies),
        st.tuples(st.just("lock"), _index, body),
        st.tuples(st.just("permit"), body),
        st.tuples(st.just("timeout"), duration, body),
        st.tuples(st.just("try_timeout"), duration, body),
        st.tuples(st.just("scope"), _index, body),
        st.tuples(st.just("shield"), body),
        st.tuples(st.just("catch"), body),
        st.tuples(st.just("swallow"), body),
        st.tuples(st.just("finally"), body, body),
    )


def _either(first, second):
    """One or the other with equal weight; `|` would weigh by the number of alternatives."""
    return st.booleans().flatmap(lambda choice: first if choice else second)


_block = _blocks(_either(_plain, _blocks(_either(_plain, _blocks(_plain)))))
_program = st.lists(_either(_plain, _block), min_size=1, max_size=4).map(tuple)
programs = st.lists(_program, min_size=2, max_size=4).map(tuple)
inputs = st.lists(st.tuples(st.integers(0, 3), st.none() | _outside), max_size=5).map(tuple)


class Execution:
    """Runs one program on the real runtime."""

    def __init__(self):
        self.rt = Runtime()
        self.trace = []
        self.events = [self.rt.event() for _ in range(2)]
        self.locks = [self.rt.lock() for _ in range(2)]
        self.channels = [self.rt.channel(capacity) for capacity in CAPACITIES]
        self.futures = [self.rt.future() for _ in range(2)]
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
                            group.spawn(self.run(f"{name}/{number}", child), f"{name}/{number}")
                        await self.run(name, body)
                finally:
                    self.log(name, "group", len(group.others))
            case ("lock", i, body):
                async with self.locks[i]:
                    await self.run(name, body)
            case ("permit", body):
                async with self.permits:
                    await self.run(name, body)
            case ("timeout", duration, body):
                with rt.timeout(duration):
                    await self.run(name, body)
            case ("try_timeout", duration, body):
                try:
                    with rt.timeout(duration):
                        await self.run(name, body)
                except TimedOut:
                    return "TimedOut"
            case ("scope", i, body):
                with rt.scope() as scope:
                    self.scopes[i] = scope
                    await self.run(name, body)
                return scope.absorbed
            case ("shield", body):
                with rt.shield():
                    await self.run(name, body)
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
