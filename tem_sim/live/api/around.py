"""What is around the events: health, metrics, and the users' page."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import BaseRoute, Route

from tem_sim.live.api.models import Health
from tem_sim.live.api.service import Serving

PAGE = Path(__file__).parent.parent / "page"
# Not as this machine has them: a browser that is told not to guess runs no script of another type.
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
router = APIRouter(tags=["operation"])


@router.get(
    "/healthz",
    response_model=Health,
    responses={503: {"model": Health, "description": "A part cannot be reached."}},
)
async def health(serving: Serving) -> Response:
    """Tell whether the API, the store and Redis do their work."""
    asked = (asyncio.to_thread(probe.part) for probe in serving.probes.values())
    parts = dict(zip(serving.probes, await asyncio.gather(*asked), strict=True))
    said = Health(ok=all(part.ok for part in parts.values()), parts=parts)
    return JSONResponse(said.model_dump(), 200 if said.ok else 503)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "For Prometheus."}},
)
async def metrics(serving: Serving) -> Response:
    """Tell how the pipeline stands, in Prometheus's text format; what cannot be reached is left out."""
    text = await asyncio.to_thread(generate_latest, serving.registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def page_routes(gateway_url: str) -> list[BaseRoute]:
    """Return a route for each file of the users' page, `/` for its index, and one that tells it the gateway's URL."""
    headers = _headers(gateway_url)

    async def config(_request: Request) -> Response:
        return JSONResponse({"gateway_url": gateway_url}, headers=headers)

    files = sorted(file for file in PAGE.iterdir() if file.suffix in MEDIA_TYPES)
    routes: list[BaseRoute] = [Route("/config.json", config)]
    return routes + [Route(_path(file), _file(file, headers)) for file in files]


def _path(file: Path) -> str:
    return "/" if file.name == "index.html" else f"/{file.name}"


def _file(file: Path, headers: dict[str, str]) -> Callable[[Request], Awaitable[Response]]:
    async def send(_request: Request) -> Response:
        return FileResponse(file, media_type=MEDIA_TYPES[file.suffix], headers=headers)

    return send


def _headers(gateway_url: str) -> dict[str, str]:
    """Let the page run its own files and talk to the API and the gateway, and nothing else."""
    allowed = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": f"'self' {gateway_url}",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{what} {whom}" for what, whom in allowed.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
