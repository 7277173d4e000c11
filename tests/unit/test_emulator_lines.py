"""The lines that `aiowatermark emulator` prints of requests and callbacks."""

from __future__ import annotations

import pytest

from aiowatermark.cli.console.emulator_lines import callback_line, request_line
from aiowatermark.emulator import CallbackAttempt, ServedRequest

UUID = "4adf6642-107f-45ec-99fb-a8ef4b11ade4"
SUBMISSION = "/api/tasks/visual/external/watermark-remove"
REQUESTS = [
    ServedRequest("POST", SUBMISSION, 200, UUID, 1, 1.002),
    ServedRequest("GET", f"{SUBMISSION}/{UUID}", 200, UUID, 0, 0.0),
    ServedRequest("POST", "/api/ext/v1/submit_watermark_removal", None, UUID, 1, 30.0),
    ServedRequest("GET", f"/v3/pic/rw/result/{UUID}", 429, UUID, 0, 0.001),
    ServedRequest("PUT", "/dewatermark/uploads/Fwmzwxkq4qxVZ2nLK6rc", 200, None, 0, 12.0),
    ServedRequest("GET", "/" + "a" * 199, 404, None, 0, 0.0),
    ServedRequest("OPTIONS", "/\x1b[2J\n", 405, None, 0, 0.0),
]


@pytest.mark.parametrize("columns", [60, 80, 100, 200])
@pytest.mark.parametrize("request_", REQUESTS, ids=lambda each: each.path[-20:].strip())
def test_a_request_is_one_line_that_fits_the_terminal(request_: ServedRequest, columns: int) -> None:
    line, whole = request_line(request_, columns), request_line(request_)
    assert line.isprintable()
    assert len(line) <= columns
    if len(whole) <= columns:
        assert line == whole
    else:
        assert "…" in line
    assert line.split()[0] == request_.method
    assert line.endswith(f"{request_.seconds * 1000:.0f} ms")
    assert f"  {request_.status or 'closed'}  job " in line


def test_a_charge_is_named_only_where_something_was_charged() -> None:
    ends = ["  charge 2  1 ms", "  1 ms", "  refund 1  1 ms"]
    for charges, end in zip((2, 0, -1), ends, strict=True):
        assert request_line(ServedRequest("GET", "/a", 200, "7", charges, 0.001)) == f"GET   /a  200  job 7{end}"


def test_elsewhere_than_on_a_terminal_path_and_job_are_whole() -> None:
    line = request_line(REQUESTS[1])
    assert line == f"GET   {SUBMISSION}/{UUID}  200  job {UUID}  0 ms"


@pytest.mark.parametrize("columns", [0, 60, 80])
@pytest.mark.parametrize(("status", "reason", "shown"), [(200, "", "200"), (None, "Connection refused", "Connection")])
def test_a_callback_is_one_line_without_the_key_in_its_url(
    status: int | None, reason: str, shown: str, columns: int
) -> None:
    attempt = CallbackAttempt("picwish", UUID, 1, 1, status, reason)
    line = callback_line(attempt, f"http://127.0.0.1:8080/{'hooks/' * 9}wm/canary-key", columns)
    assert line.startswith("CALLBACK  /hook")
    assert f"  {shown}" in line
    assert "canary" not in line
    assert not columns or len(line) <= columns
