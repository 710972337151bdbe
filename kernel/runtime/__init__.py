"""The kernel's own scheduler: tasks, timers, cancel scopes, locks and channels on virtual time.

It takes the place of asyncio inside the kernel, so that the same inputs always run the same
coroutines in the same order.
"""
