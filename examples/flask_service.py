"""Flask service with the synchronous client, which all threads of the server share."""

import json
import threading
import urllib.request

from flask import Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.serving import make_server

import aiowatermark as aw
from aiowatermark import sync
from aiowatermark.emulator import Emulator, pictures


def create_app(client: sync.Client) -> Flask:
    """Return the application; open the client in the process that serves it, after any fork."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 20_000_000  # a larger upload is a 413

    @app.errorhandler(aw.WatermarkError)
    def answer_error(error: aw.WatermarkError) -> ResponseReturnValue:
        """400: what the user can correct, such as a token that is none. 502: what the provider did."""
        return jsonify(detail=error.message), 400 if isinstance(error, aw.InvalidInput) else 502

    @app.post("/jobs")
    def submit() -> ResponseReturnValue:
        """Take an image; respond with a token. Requests with the same Idempotency-Key are charged once."""
        handle = client.submit(request.get_data(), key=request.headers.get("Idempotency-Key"))
        return jsonify(token=handle.token), 202

    @app.get("/jobs/<token>")
    def fetch(token: str) -> ResponseReturnValue:
        """Respond with the clean image, or with 202 while the job is running."""
        handle = client.resume(token)
        try:
            result = handle.result(timeout=5.0)
        except TimeoutError:
            return jsonify(status=handle.snapshot.status), 202
        body, info = result.read(), result.outputs[0].info
        return Response(body, mimetype=f"image/{info.format}" if info else "application/octet-stream")

    return app


def main() -> None:
    with sync.open_in_thread(Emulator()) as emulator, sync.Client(emulator.provider("kaze")) as client:
        server = make_server("127.0.0.1", 0, create_app(client), threaded=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base_url = f"http://127.0.0.1:{server.port}"
        upload = urllib.request.Request(f"{base_url}/jobs", pictures.sample_photo())  # noqa: S310
        with urllib.request.urlopen(upload) as response:  # noqa: S310
            token = json.load(response)["token"]
        with urllib.request.urlopen(f"{base_url}/jobs/{token}") as response:  # noqa: S310
            print(response.status, response.headers["Content-Type"], len(response.read()), "bytes")
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    main()
