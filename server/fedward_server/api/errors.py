"""How errors leave: always ``{"error": {"code": ..., "message": ...}}``."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from fedward_core.errors import DataError, FedwardError, SpecError
from fedward_server.errors import RefusedError, UnauthorizedError, UnavailableError

CODES = {404: "not_found", 405: "method_not_allowed"}
RETRY_S = 5


def register_errors(app: FastAPI) -> None:
    """Answer every error in the one shape."""
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(SpecError, _wrong_spec)
    app.add_exception_handler(DataError, _wrong_data)
    app.add_exception_handler(FedwardError, _unavailable)
    app.add_exception_handler(RequestValidationError, _wrong_request)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _fault)


def _answer(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RefusedError)
    return _answer(error.status, error.code, str(error), _headers(error))


def _headers(error: RefusedError) -> dict[str, str]:
    if isinstance(error, UnauthorizedError):
        return {"WWW-Authenticate": "Bearer"}
    return {"Retry-After": str(RETRY_S)} if isinstance(error, UnavailableError) else {}


async def _unavailable(_request: Request, error: Exception) -> JSONResponse:
    """What is not the asker's fault, such as a full disk or a SuperLink that does not start."""
    return _answer(503, UnavailableError.code, str(error), {"Retry-After": str(RETRY_S)})


async def _wrong_spec(_request: Request, error: Exception) -> JSONResponse:
    return _answer(422, "wrong_spec", str(error))


async def _wrong_data(_request: Request, error: Exception) -> JSONResponse:
    return _answer(422, "wrong_data", str(error))


async def _wrong_request(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
    return _answer(422, "invalid", "the request is wrong: " + "; ".join(faults))


async def _http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers) if error.headers else None
    return _answer(error.status_code, CODES.get(error.status_code, "bad_request"), str(error.detail), headers)


async def _fault(_request: Request, _error: Exception) -> JSONResponse:
    return _answer(500, "internal", "a fault of the coordinator itself: its log tells more")
