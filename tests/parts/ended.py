"""What a browser shows after it posted a response: the page itself, or the one that it is led to, with its cookie."""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient


async def ended(client: TestClient[web.Request, web.Application], answer: ClientResponse) -> tuple[int, str]:
    """Status and page. Cookies of an https address go back although the test's server has none."""
    if answer.status != 303:
        return answer.status, await answer.text()
    led = urlsplit(answer.headers["Location"])
    assert led.path.endswith("/done"), led
    kept = "; ".join(f"{morsel.key}={morsel.value}" for morsel in answer.cookies.values())
    async with client.get(f"{led.path}?{led.query}", headers={"Cookie": kept}) as page:
        return page.status, await page.text()
