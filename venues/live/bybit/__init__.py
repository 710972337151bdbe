"""Bybit V5 (unified account, linear): codec, error table, stream framing, adapter and transport.

The file names are those of `venues.live.binance`, one for one.
"""
