"""Binance USD-M futures: codec, error table, stream framing, adapter and transport.

The file names are those of `venues.live.bybit`, one for one.
"""
