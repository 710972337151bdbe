"""From a message of the signal server to the ordered candidates of one wave.

Parsing, the wave schedule, the buffer, the filter and the durable record that makes a signal
tradable once.
"""
