"""A view of a synchronous framework receives callbacks for a synchronous client: its job wakes without polling."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from flask import Flask, request
from flask.typing import ResponseReturnValue
from werkzeug.serving import make_server

import aiowatermark as aw
from aiowatermark import sync
from aiowatermark.emulator import Emulator, pictures


@pytest.fixture
def receiver() -> Iterator[aw.CallbackReceiver]:
    """A receiver whose public URL leads to a view of Flask, in a server that has a thread for each request."""
    receiver = aw.CallbackReceiver(public_url="http://127.0.0.1:1/wm")
    app = Flask(__name__)

    @app.route("/wm/<key>", methods=["GET", "POST"])
    def receive(key: str) -> ResponseReturnValue:
        if request.method != "POST":
            return "", 200
        delivery = aw.Delivery(request.get_data(), request.content_type)
        return "", asyncio.run(receiver.receive(key, delivery))

    server = make_server("127.0.0.1", 0, app, threaded=True)
    receiver.public_url = f"http://127.0.0.1:{server.port}/wm"
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield receiver
    server.shutdown()
    serving.join()
    server.server_close()


def test_a_callback_that_a_view_of_flask_receives_wakes_the_job(receiver: aw.CallbackReceiver) -> None:
    with (
        sync.open_in_thread(Emulator(restore=False, processing=0.1)) as emulator,
        sync.Client(emulator.provider("gptge"), callbacks=receiver) as client,
    ):
        assert client.remove(pictures.sample_photo()).read() == pictures.sample_photo()
        assert [task.queries for task in emulator.tasks] == [1]
