"""The Event API as one ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from tem_sim.live.api import around, routes
from tem_sim.live.api.described import describe
from tem_sim.live.api.problems import Broken, Refusal, invalid, refusal
from tem_sim.live.api.service import Service
from tem_sim.live.api.watching import CLIENT_GONE, Watching

if TYPE_CHECKING:
    from tem_sim.live.process import Process

_ABOUT = """\
Takes events in, durably and once per idempotency key, and shows what became of them.

* A user sends, sees and replays its own events; an operator those of all users.
* Whatever is not answered, or answered with 503, is safe to send again under the same key.
* Each refusal is a problem document (RFC 9457) that names the rule, the value and the remedy.
"""


def create_app(process: Process) -> FastAPI:
    """Return the API of a process, over its pipeline; the store and Redis may be away, now or later."""
    service = Service(process)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="TEM Event API",
        version="1",
        description=_ABOUT,
        lifespan=lifespan,
        # Both would load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    app.include_router(routes.router)
    app.include_router(around.router)
    app.router.routes.extend(around.page_routes(process.config.gateway_url))
    app.add_middleware(Watching, log=process.log, metrics=service.metrics, at_once=process.config.limits.requests)
    _answer_errors(app)
    return app


def _answer_errors(app: FastAPI) -> None:
    """Give every refusal the one shape."""

    @app.exception_handler(Refusal)
    async def refused(_request: Request, refusal: Refusal) -> Response:
        return refusal.response()

    @app.exception_handler(RequestValidationError)
    async def not_valid(_request: Request, error: RequestValidationError) -> Response:
        return invalid(error.errors()).response()

    @app.exception_handler(HTTPException)
    async def not_here(request: Request, error: HTTPException) -> Response:
        rule = f"must be one that there is ({error.detail})"
        asked = f"{request.method} {request.url.path}"
        return refusal(
            error.status_code, "request", rule, asked, remedy="see /openapi.json", headers=error.headers
        ).response()

    @app.exception_handler(ClientDisconnect)
    async def gone(_request: Request, _error: ClientDisconnect) -> Response:
        return Response(status_code=CLIENT_GONE)

    @app.exception_handler(Exception)
    async def broken(_request: Request, error: Exception) -> Response:
        rule = "must be answered, and was not: a bug of the API"
        wrong = Broken(where="API", rule=rule, value=type(error).__name__, remedy="look into its log")
        return Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, [wrong]).response()
