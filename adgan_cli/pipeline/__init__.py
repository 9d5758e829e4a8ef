"""What the commands do, one function each: images, engine and results put together.

Silent, like the engine: progress goes to callbacks, the command draws it.
"""
