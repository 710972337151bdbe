"""Unmodified clients against the emulators: each library signs, sends, parses and listens."""

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.scenarios.programs import run_sim
from tests.venues.sim.desk import BTC, Desk
from venues.sim.serve import EmulatorServer, wall_ns
from venues.sim.wire.keys import Keys

KEYS = Keys("k", "s")


def with_server(venue: str, use: Callable[[EmulatorServer, Desk], Awaitable[Any]]) -> Any:
    """Run a coroutine against a fresh server."""

    async def run() -> Any:
        desk = Desk(venue)
        desk.agenda.advance(wall_ns())  # clients sign with their own clock
        server = EmulatorServer(desk.venue, desk.agenda, KEYS)
        await server.start()
        try:
            return await asyncio.wait_for(use(server, desk), 20)
        finally:
            await server.stop()

    return asyncio.run(run())


# ---------------------------------------------------------------- python-binance


def test_python_binance_trades_stops_and_hears_it():
    from binance import AsyncClient, BinanceSocketManager
    from binance.exceptions import BinanceAPIException

    async def use(server: EmulatorServer, _desk: Desk) -> dict[str, Any]:
        client = AsyncClient("k", "s")
        client.FUTURES_URL = f"http://127.0.0.1:{server.port}/fapi"
        sockets = BinanceSocketManager(client, max_queue_size=1000)
        sockets.FSTREAM_URL = f"ws://127.0.0.1:{server.port}/"
        seen: dict[str, Any] = {}
        try:
            async with sockets.futures_user_socket() as stream:
                await asyncio.sleep(0.2)
                seen["order"] = await client.futures_create_order(
                    symbol=BTC, side="BUY", type="MARKET", quantity="0.010",
                    newClientOrderId="e-1",
                )  # fmt: skip
                seen["stop"] = await client.futures_create_algo_order(
                    symbol=BTC, side="SELL", type="STOP_MARKET", quantity="0.010",
                    triggerPrice="59000", reduceOnly="true", clientAlgoId="s-1",
                )  # fmt: skip
                seen["frames"] = [await asyncio.wait_for(stream.recv(), 5) for _ in range(4)]
            seen["algo"] = await client.futures_get_open_algo_orders()
            seen["plain"] = await client.futures_get_open_orders()
            seen["held"] = await client.futures_position_information()
            await client.futures_cancel_algo_order(clientAlgoId="s-1")
            seen["trades"] = await client.futures_account_trades(symbol=BTC)
            with pytest.raises(BinanceAPIException) as caught:
                await client.futures_get_order(symbol=BTC, origClientOrderId="nobody")
            seen["code"] = caught.value.code
        finally:
            await client.close_connection()
        return seen

    seen = with_server("binance", use)
    assert seen["order"]["clientOrderId"] == "e-1"
    assert seen["stop"]["algoStatus"] == "NEW"
    assert [one["clientAlgoId"] for one in seen["algo"]] == ["s-1"]
    assert seen["plain"] == []
    assert seen["held"][0]["positionAmt"] == "0.010"
    assert [trade["orderId"] for trade in seen["trades"]] == [seen["order"]["orderId"]]
    assert seen["code"] == -2013
    assert {frame["e"] for frame in seen["frames"]} == {
        "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE", "ALGO_UPDATE",
    }  # fmt: skip


# ---------------------------------------------------------------- ccxt


def test_ccxt_trades_and_stops_on_binance():
    import ccxt.async_support as ccxt

    async def use(server: EmulatorServer, _desk: Desk) -> dict[str, Any]:
        base = f"http://127.0.0.1:{server.port}/fapi"
        versions = {"Public": "v1", "PublicV2": "v2", "PublicV3": "v3", "Private": "v1",
                    "PrivateV2": "v2", "PrivateV3": "v3"}  # fmt: skip
        exchange = ccxt.binanceusdm({
            "apiKey": "k", "secret": "s", "enableRateLimit": False,
            "options": {"fetchCurrencies": False, "fetchMargins": False},
            "urls": {"api": {f"fapi{name}": f"{base}/{v}" for name, v in versions.items()}},
        })  # fmt: skip
        symbol, seen = "BTC/USDT:USDT", {}
        try:
            await exchange.load_markets()
            seen["order"] = await exchange.create_order(symbol, "market", "buy", 0.01)
            seen["stop"] = await exchange.create_order(
                symbol, "market", "sell", 0.01, None,
                {"stopLossPrice": 59000, "reduceOnly": True, "clientOrderId": "s-1"},
            )  # fmt: skip
            seen["open"] = await exchange.fetch_open_orders(symbol, params={"trigger": True})
            seen["held"] = await exchange.fetch_positions([symbol])
            seen["money"] = await exchange.fetch_balance()
            await exchange.cancel_order(seen["stop"]["id"], symbol, {"trigger": True})
            seen["left"] = await exchange.fetch_open_orders(symbol, params={"trigger": True})
        finally:
            await exchange.close()
        return seen

    seen = with_server("binance", use)
    assert (seen["order"]["status"], seen["order"]["filled"]) == ("closed", 0.01)
    assert [(one["clientOrderId"], one["triggerPrice"]) for one in seen["open"]] == [
        ("s-1", 59000),
    ]  # fmt: skip
    assert (seen["held"][0]["contracts"], seen["held"][0]["side"]) == (0.01, "long")
    assert seen["money"]["USDT"]["total"] == pytest.approx(99999.6999995)
    assert seen["left"] == []


def test_ccxt_trades_and_watches_on_bybit():
    import ccxt.pro as ccxt

    async def use(server: EmulatorServer, _desk: Desk) -> dict[str, Any]:
        http, ws = f"http://127.0.0.1:{server.port}", f"ws://127.0.0.1:{server.port}"
        exchange = ccxt.bybit({
            "apiKey": "k", "secret": "s", "enableRateLimit": False,
            "urls": {"api": {"public": http, "private": http, "ws": {
                "public": {"linear": f"{ws}/v5/public/linear"},
                "private": {"contract": f"{ws}/v5/private", "trade": f"{ws}/v5/trade"},
            }}},
            "has": {"fetchCurrencies": False},
            "options": {
                "fetchMarkets": {"types": ["linear"]}, "enableUnifiedMargin": False,
                "enableUnifiedAccount": True, "unifiedMarginStatus": 6,
                "fetchOrder": {"acknowledged": True},
            },
        })  # fmt: skip
        symbol, seen = "BTC/USDT:USDT", {}
        try:
            await exchange.load_markets()
            watched = asyncio.create_task(exchange.watch_orders(symbol))
            await asyncio.sleep(0.5)
            seen["order"] = await exchange.create_order(
                symbol, "market", "buy", 0.01, None,
                {"clientOrderId": "e-1", "stopLoss": {"triggerPrice": 59000}},
            )  # fmt: skip
            seen["watched"] = await asyncio.wait_for(watched, 5)
            seen["held"] = await exchange.fetch_positions([symbol])
            seen["stops"] = await exchange.fetch_open_orders(symbol, params={"trigger": True})
            seen["trades"] = await exchange.fetch_my_trades(symbol)
            seen["found"] = await exchange.fetch_order(seen["order"]["id"], symbol)
        finally:
            await exchange.close()
        return seen

    seen = with_server("bybit", use)
    assert seen["order"]["clientOrderId"] == "e-1"
    assert seen["watched"]
    assert (seen["held"][0]["contracts"], seen["held"][0]["stopLossPrice"]) == (0.01, 59000)
    assert [one["triggerPrice"] for one in seen["stops"]] == [59000]
    assert [one["amount"] for one in seen["trades"]] == [0.01]
    assert (seen["found"]["status"], seen["found"]["average"]) == ("closed", 60000.1)


# ---------------------------------------------------------------- pybit


def test_pybit_trades_and_moves_the_stop_of_the_position():
    from pybit.exceptions import InvalidRequestError
    from pybit.unified_trading import HTTP

    def trade(port: int) -> dict[str, Any]:
        session = HTTP(api_key="k", api_secret="s", timeout=5)
        session.endpoint = f"http://127.0.0.1:{port}"
        seen: dict[str, Any] = {}
        linear = {"category": "linear", "symbol": BTC}
        seen["order"] = session.place_order(
            **linear, side="Buy", orderType="Market", qty="0.010", orderLinkId="e-1"
        )
        stop = {**linear, "tpslMode": "Full", "positionIdx": 0, "slTriggerBy": "MarkPrice"}
        seen["stop"] = session.set_trading_stop(**stop, stopLoss="59000")
        with pytest.raises(InvalidRequestError) as caught:
            session.set_trading_stop(**stop, stopLoss="59000")
        seen["again"] = caught.value.status_code
        seen["held"] = session.get_positions(**linear)["result"]["list"]
        seen["open"] = session.get_open_orders(**linear)["result"]["list"]
        seen["executions"] = session.get_executions(**linear)["result"]["list"]
        seen["money"] = session.get_wallet_balance(accountType="UNIFIED")["result"]["list"]
        session.client.close()
        return seen

    async def use(server: EmulatorServer, _desk: Desk) -> dict[str, Any]:
        return await asyncio.to_thread(trade, server.port)

    seen = with_server("bybit", use)
    assert seen["order"]["result"]["orderLinkId"] == "e-1"
    assert seen["stop"]["retCode"] == 0
    assert seen["again"] == 34040
    assert seen["held"][0]["stopLoss"] == "59000.0"
    assert [row["stopOrderType"] for row in seen["open"]] == ["StopLoss"]
    assert [row["orderLinkId"] for row in seen["executions"]] == ["e-1"]
    assert seen["money"][0]["coin"][0]["coin"] == "USDT"


# ---------------------------------------------------------------- keys


def test_the_documented_signature_of_binance_is_ours():
    # venue-binance.md §1: the example of the venue's own documents.
    secret = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
    payload = (
        "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC"
        "&recvWindow=5000&timestamp=1591702613943"
    )
    assert Keys("k", secret).sign(payload.encode()) == (
        "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"
    )


@pytest.mark.parametrize("key", ["k", "other"])
def test_a_wrong_secret_and_a_wrong_key_are_told_apart(key):
    import aiohttp

    wrong = hmac.new(b"wrong", b"timestamp=1", hashlib.sha256).hexdigest()
    query = f"timestamp=1&signature={wrong}"

    async def use(server: EmulatorServer, _desk: Desk) -> tuple[int, int]:
        url = f"http://127.0.0.1:{server.port}/fapi/v3/balance?{query}"
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, headers={"X-MBX-APIKEY": key}) as reply,
        ):
            return reply.status, (await reply.json())["code"]

    expected = (400, -1022) if key == "k" else (401, -2014)
    assert with_server("binance", use) == expected


def test_a_bybit_socket_with_a_bad_signature_hears_nothing():
    import aiohttp

    async def use(server: EmulatorServer, desk: Desk) -> list[Any]:
        url = f"ws://127.0.0.1:{server.port}/v5/private"
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            await asyncio.sleep(0.2)
            await socket.send_json({"op": "auth", "args": ["k", 1, "wrong"]})
            await socket.send_json({"op": "subscribe", "args": ["order"]})
            told = [await socket.receive_json(timeout=5) for _ in range(2)]
            desk.market("0.010")
            with pytest.raises(TimeoutError):
                await socket.receive_json(timeout=0.3)
        return told

    assert [one["success"] for one in with_server("bybit", use)] == [False, False]


def test_serve_names_every_market_that_it_cannot_serve():
    done = run_sim("serve", "binance", "--market", "NOPEUSDT=1", "--market", "BTCUSDT=much")
    assert done.returncode == 2
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == [
        "--market NOPEUSDT=1", "--market BTCUSDT=much",
    ]  # fmt: skip
