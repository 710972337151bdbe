"""A naive interpreter of docs/runtime-semantics.md: everything is looked up anew, nothing cached.

Tasks are generators; every list is searched from the front; whether a task is cancelled is found
out by walking up its scopes; after a cancel, every task is looked at in order of creation.
"""

from types import SimpleNamespace

from tests.kernel.runtime.programs import CAPACITIES, Boom


class Stopped(BaseException):
    """The model's `Cancelled`."""


class Failure(Exception):
    """An error of the runtime; `name` is the class name of the real one."""

    def __init__(self, name):
        self.name = name


def name_of(error):
    return error.name if isinstance(error, Failure) else type(error).__name__


class Scope:
    def __init__(self, parent, shielded=False):
        self.parent, self.shielded = parent, shielded
        self.cancelled = self.expired = False

    def effective(self):
        if self.cancelled or self.shielded or self.parent is None:
            return self.cancelled
        return self.parent.effective()


class Task:
    def __init__(self, name, scope, group=None):
        self.name, self.scope, self.own_scope, self.group = name, scope, scope, group
        self.place = None  # (list, entry) while it waits and may be interrupted
        self.value = self.error = self.generator = None
        self.done = self.cancelled = False
        self.joiners = []


class Box(SimpleNamespace):
    """A thing with a queue: event, lock, channel, future, semaphore or group."""

    def __init__(self, **fields):
        super().__init__(queue=[], putters=[], items=[], **fields)


class Model:
    def __init__(self):
        self.now, self.number, self.item = 0, 0, 0
        self.trace, self.tasks, self.ready, self.timers = [], [], [], []
        self.events = [Box(up=False) for _ in range(2)]
        self.locks = [Box(owner=None) for _ in range(2)]
        self.channels = [Box(capacity=capacity, closed=False) for capacity in CAPACITIES]
        self.futures = [Box(state="open", value=None) for _ in range(2)]
        self.permits = Box(free=1)
        self.scopes, self.spawned = {}, []

    def log(self, *what):
        self.trace.append((self.now, *what))

    # Waiting and waking.

    def enter(self, task):
        if task.scope.effective():
            raise Stopped

    def park(self, task, place=None, entry=None):
        if place is not None:
            place.append(entry)
            task.place = (place, entry)
        yield
        task.place = None
        error, task.error = task.error, None
        if error is not None:
            raise error
        return task.value

    def wake(self, task, value=None, error=None):
        task.place, task.value, task.error = None, value, error
        self.ready.append(task)

    def cancel(self, scope):
        scope.cancelled = True
        for task in self.tasks:
            if task.place is not None and task.scope.effective():
                place, entry = task.place
                place.remove(entry)
                for future in self.futures:
                    if place is future.queue and not place:
                        future.state = "abandoned"
                self.wake(task, error=Stopped())

    def add_timer(self, deadline, action):
        self.number += 1
        return (deadline, self.number, action)

    # Tasks.

    def spawn(self, name, program, scope, group=None):
        task = Task(name, scope, group)
        task.generator = self.run(task, name, program)
        self.tasks.append(task)
        self.ready.append(task)
        return task

    def drain(self):
        while self.ready:
            task = self.ready.pop(0)
            try:
                next(task.generator)
            except StopIteration:
                self.end(task, None)
            except (Exception, Stopped) as error:
                self.end(task, error)

    def end(self, task, error):
        task.done = True
        task.cancelled = isinstance(error, Stopped)
        self.tasks.remove(task)
        for joiner in task.joiners:
            self.wake(joiner)
        if task.group is not None:
            group = task.group
            group.members.remove(task)
            if error is not None and not task.cancelled:
                self.record(group, error)
            if group.owner is not None and not group.members:
                self.wake(group.owner, group.scope.parent.effective())
                group.owner = None
        elif error is not None and not task.cancelled:
            self.log("crash", name_of(error))

    def record(self, group, error):
        group.errors.append(error)
        if not group.scope.cancelled:
            self.cancel(group.scope)

    def fire(self, until, inclusive):
        self.drain()
        while due := [t for t in self.timers if t[0] < until or (inclusive and t[0] == until)]:
            timer = min(due, key=lambda timer: timer[:2])
            self.timers.remove(timer)
            timer[2]()
            self.drain()

    # Operations.

    def act(self, name, operation):
        match operation:
            case ("set", i):
                self.events[i].up = True
                for task in self.take_all(self.events[i].queue):
                    self.wake(task)
            case ("clear", i):
                self.events[i].up = False
            case ("close", i):
                channel = self.channels[i]
                channel.closed = True
                waiting = self.take_all(channel.queue)
                waiting += [task for task, _ in self.take_all(channel.putters)]
                for task in waiting:
                    self.wake(task, error=Failure("ChannelClosed"))
            case ("cancel", i):
                if i in self.scopes:
                    self.cancel(self.scopes[i])
            case ("cancel_task", i):
                if i < len(self.spawned):
                    self.cancel(self.spawned[i].own_scope)
            case ("put_nowait", i):
                self.item += 1
                try:
                    if not self.offer(self.channels[i], self.item):
                        raise Failure("ChannelFull")
                except Failure as error:
                    self.log(name, "put_nowait", error.name)
            case ("answer", i):
                self.item += 1
                self.log(name, "answer", self.settle(self.futures[i], self.item, None))
            case ("fail", i):
                self.log(name, "fail", self.settle(self.futures[i], None, Boom()))
            case _:
                return False
        return True

    def take_all(self, queue):
        taken = list(queue)
        queue.clear()
        return taken

    def offer(self, channel, item):
        if channel.closed:
            raise Failure("ChannelClosed")
        if channel.queue:
            self.wake(channel.queue.pop(0), item)
        elif channel.capacity is None or len(channel.items) < channel.capacity:
            channel.items.append(item)
        else:
            return False
        return True

    def take(self, channel):
        """The first item of buffer and putters, which then move up."""
        if not channel.items and not channel.putters:
            raise Failure("ChannelClosed" if channel.closed else "ChannelEmpty")
        if channel.putters:
            putter, item = channel.putters.pop(0)
            channel.items.append(item)
            self.wake(putter)
        return channel.items.pop(0)

    def settle(self, future, value, error):
        if future.state != "open":
            return False
        future.state, future.value, future.error = "done", value, error
        for task in self.take_all(future.queue):
            self.wake(task, value, error)
        return True

    def run(self, task, name, program):
        for number, operation in enumerate(program):
            if not self.act(name, operation):
                result = yield from self.do(task, f"{name}.{number}", operation)
                self.log(name, number, operation[0], result)

    def do(self, task, name, operation):
        match operation:
            case ("sleep", _) | ("until", _):
                self.enter(task)
                instant = operation[1] + (self.now if operation[0] == "sleep" else 0)
                timer = self.add_timer(instant, lambda: self.wake(task))
                yield from self.park(task, self.timers, timer)
            case ("checkpoint",):
                self.enter(task)
                self.wake(task)
                yield from self.park(task)
            case ("wait", i):
                self.enter(task)
                if not self.events[i].up:
                    yield from self.park(task, self.events[i].queue, task)
            case ("put", i):
                self.item += 1
                item = self.item
                self.enter(task)
                if not self.offer(self.channels[i], item):
                    yield from self.park(task, self.channels[i].putters, (task, item))
            case ("get", i):
                self.enter(task)
                channel = self.channels[i]
                if channel.items or channel.putters or channel.closed:
                    return self.take(channel)
                return (yield from self.park(task, channel.queue, task))
            case ("get_nowait", i):
                return self.take(self.channels[i])
            case ("ask", i):
                self.enter(task)
                future = self.futures[i]
                if future.state == "open":
                    return (yield from self.park(task, future.queue, task))
                if future.state == "abandoned":
                    raise Failure("FutureAbandoned")
                if future.error is not None:
                    raise future.error
                return future.value
            case ("join", i) if i < len(self.spawned):
                self.enter(task)
                if not self.spawned[i].done:
                    yield from self.park(task, self.spawned[i].joiners, task)
                return self.spawned[i].cancelled
            case ("raise",):
                raise Boom
            case _:
                return (yield from self.block(task, name, operation))
        return None

    def block(self, task, name, operation):
        match operation:
            case ("spawn", body):
                self.spawned.append(self.spawn(name, body, Scope(None)))
            case ("group", body, children):
                yield from self.group(task, name, body, children)
            case ("lock", i, body):
                lock = self.locks[i]
                self.enter(task)
                if lock.owner is task:
                    raise Failure("RuntimeMisuse")
                if lock.owner is not None:
                    yield from self.park(task, lock.queue, task)
                lock.owner = task
                error = yield from self.attempt(task, name, body)
                lock.owner = lock.queue.pop(0) if lock.queue else None
                if lock.owner is not None:
                    self.wake(lock.owner)
                self.raise_any(error)
            case ("permit", body):
                self.enter(task)
                if self.permits.free:
                    self.permits.free -= 1
                else:
                    yield from self.park(task, self.permits.queue, task)
                error = yield from self.attempt(task, name, body)
                if self.permits.queue:
                    self.wake(self.permits.queue.pop(0))
                else:
                    self.permits.free += 1
                self.raise_any(error)
            case ("timeout", i, duration, body):
                scope = self.scopes[i] = Scope(task.scope)
                return (yield from self.scoped(task, name, body, scope, self.now + duration))
            case ("try_timeout", i, duration, body):
                scope = self.scopes[i] = Scope(task.scope)
                try:
                    return (yield from self.scoped(task, name, body, scope, self.now + duration))
                except Failure as failure:
                    if failure.name != "TimedOut":
                        raise
                    return failure.name
            case ("scope", i, body):
                scope = self.scopes[i] = Scope(task.scope)
                return (yield from self.scoped(task, name, body, scope))
            case ("shield", i, body):
                scope = self.scopes[i] = Scope(task.scope, shielded=True)
                return (yield from self.scoped(task, name, body, scope))
            case ("catch", body):
                error = yield from self.attempt(task, name, body)
                if isinstance(error, Exception):
                    return name_of(error)
                self.raise_any(error)
            case ("swallow", body):
                error = yield from self.attempt(task, name, body)
                if isinstance(error, Stopped):
                    return "cancelled"
                self.raise_any(error)
            case ("finally", body, cleanup):
                error = yield from self.attempt(task, name, body)
                self.log(name, "finally")
                yield from self.run(task, name, cleanup)
                self.raise_any(error)
        return None

    def scoped(self, task, name, body, scope, deadline=None):
        def expire():
            if not scope.cancelled:
                scope.expired = True
                self.cancel(scope)

        outer, task.scope = task.scope, scope
        timer = None if deadline is None else self.add_timer(deadline, expire)
        if timer is not None:
            self.timers.append(timer)
        error = yield from self.attempt(task, name, body)
        task.scope = outer
        if timer in self.timers:
            self.timers.remove(timer)
        visible = outer.effective() and not scope.shielded
        absorbed = isinstance(error, Stopped) and scope.cancelled and not visible
        if error is not None and not absorbed:
            raise error
        if absorbed and scope.expired:
            raise Failure("TimedOut")
        return absorbed

    def attempt(self, task, name, body):
        try:
            yield from self.run(task, name, body)
        except (Exception, Stopped) as error:
            return error
        return None

    def raise_any(self, error):
        if error is not None:
            raise error

    def group(self, task, name, body, children):
        outer = task.scope
        group = Box(scope=Scope(outer), members=[], errors=[], owner=None)
        task.scope = group.scope
        for number, child in enumerate(children):
            scope = Scope(group.scope)
            group.members.append(self.spawn(f"{name}/{number}", child, scope, group))
            self.spawned.append(group.members[-1])
        error = yield from self.attempt(task, name, body)
        if isinstance(error, Exception):
            self.record(group, error)
        visible = outer.effective()
        if group.members:
            group.owner = task
            visible = yield from self.park(task)
        task.scope = outer
        self.log(name, "group", max(len(group.errors) - 1, 0))
        if group.errors:
            raise group.errors[0]
        if isinstance(error, Stopped):
            if outer.effective():
                raise error
        elif visible:
            raise Stopped

    def result(self, program, steps):
        for number, body in enumerate(program):
            self.spawned.append(self.spawn(f"t{number}", body, Scope(None)))
        self.drain()
        for gap, operation in steps:
            self.now += gap
            self.fire(self.now, inclusive=False)
            if operation is not None:
                self.act("input", operation)
            self.drain()
            self.fire(self.now, inclusive=True)
        while self.timers:
            self.now = max(self.now, min(timer[0] for timer in self.timers))
            self.fire(self.now, inclusive=True)
        return self.trace, [task.name for task in self.tasks]
