"""The simulated venue speaking the byte-level dialects of Binance and Bybit.

The emulators are written from the venues' documents and share no table with the live codecs.
"""
