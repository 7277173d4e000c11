"""The diagrams of the documents, as data. `python -m docs._diagrams.diagrams` writes them again, beside this module.

A test compares what they name with the code: modules, functions, layers, and each transition of a job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from .drawing import Layer, Message, Picture, State, Transition, draw_layers, draw_messages, draw_states

FOLDER = Path(__file__).parent

LAYERS: Sequence[Layer] = (
    Layer(("cli", "testing", "sync", "dask"), "the command line, test support, the synchronous client, clusters"),
    Layer(("emulator",), "the five APIs on loopback; shares no parsing code with the SDK"),
    Layer(("client",), "jobs, their limits, submission, waiting, recovery"),
    Layer(
        ("providers", "transport", "stores", "callbacks"),
        "one vendor, HTTP, persistence, incoming callbacks; none imports another",
    ),
    Layer(("provider",), "what a provider is: flows, capabilities, a polling schedule"),
    Layer(
        ("observation", "results", "codec", "capabilities", "http_errors", "environment", "options"),
        "pure functions and values",
    ),
    Layer(("jobs", "wire"), "Job, Snapshot and Record with every transition; HTTP described, not executed"),
    Layer(
        ("charges", "media", "lifetimes", "misuse", "tokens"), "bytes of any source; opening and closing, each atomic"
    ),
    Layer(
        ("clock", "connection_errors", "errors", "events", "introspection", "ledger", "redaction", "suggestions"),
        "the SDK's time, errors, what may be shown of an answer",
    ),
)

STATES: Sequence[State] = (
    State("UPLOADING", "nothing was paid", 40, 70),
    State("IN_DOUBT", "the paid request may be sent", 400, 70, "box doubt", 214),
    State("IN_DOUBT, with a reason", "no answer: SubmissionInDoubt", 660, 190, "box doubt", 214),
    State("QUEUED", "the provider accepted it", 413, 250),
    State("RUNNING", "the provider works on it", 413, 350),
    State("SUCCEEDED", "a result", 300, 450, "box end"),
    State("FAILED", "a reason, no result", 526, 450, "box end"),
)
TRANSITIONS: Sequence[Transition] = (
    Transition("start_job", "a video", "M 134 26 V 68", (144, 40)),
    Transition("start_job", "an image", "M 507 26 V 68", (517, 40)),
    Transition("commit", "the paid request follows", "M 228 84 H 398", (238, 62), "line paid"),
    Transition("withdraw", "the attempt had no effect", "M 400 104 H 230", (238, 122)),
    Transition("delete", "the key is free", "M 90 116 V 176", (100, 150), "line dashed"),
    Transition("delete", "refused: the key is free", "M 432 116 V 176", (424, 158), "line dashed", "end"),
    Transition("advance", "accepted", "M 507 116 V 248", (517, 150)),
    Transition("advance", "no usable answer came", "M 614 93 H 766 V 188", (626, 70), "line paid"),
    Transition("advance", "a callback, or settle(task_id=…)", "M 766 236 V 273 H 603", (622, 290)),
    Transition("take_over", "settle(paid=False)", "M 660 213 H 212 V 118", (224, 190)),
    Transition("advance", "settle(paid=True)", "M 840 236 V 473 H 716", (726, 450)),
    Transition("advance", "", "M 507 296 V 348", (517, 328)),
    Transition("advance", "", "M 460 396 V 448", (400, 428)),
    Transition("advance", "", "M 554 396 V 448", (564, 428)),
    Transition("take_over", "again=True: a new charge", "M 620 496 V 530 H 56 V 118", (70, 507), "line paid"),
)

_UPLOAD = (
    Message(0, 1, "Client.submit", "client/client.py", '"photo.jpg"'),
    Message(1, 2, "JobPreparer.prepare", "client/engine/prepare.py", "checked before anything is spent"),
    Message(2, 6, "as_media", "media/__init__.py", "a File: nothing is opened yet"),
    Message(1, 2, "JobEngine.start_job", "client/engine/engine.py", "one task, once there is a slot"),
    Message(2, 2, "Submitter.submit", "client/engine/submission/submit.py", "waits for a submit slot"),
    Message(2, 3, "JobStore.open", "stores/__init__.py", "the record is durable: IN_DOUBT"),
    Message(2, 4, "Provider.submit", "provider.py", "the flow yields a Request that is not repeatable"),
    Message(2, 2, "SubmitContext.before_attempt", "client/engine/submission/commits.py", "still the owner?"),
    Message(2, 5, "HttpTransport.perform", "transport/http.py", "sends it once"),
    Message(5, 5, "encode_body", "transport/body.py", "parts of known length"),
    Message(5, 6, "File.buffers", "media/files.py", "blocks"),
    Message(
        5, 2, "SubmitContext.on_paid_request_sent", "client/engine/submission/commits.py", "may be paid", "line paid"
    ),
    Message(5, 7, "BodyStream._count_chunks", "transport/upload.py", "headers and bytes leave, counted", "line paid"),
)
_CALLBACK = (
    Message(0, 1, "ConnectionLimiter.accept", "callbacks/connections.py", "POST …/wm/KEY"),
    Message(1, 1, "request_handler", "callbacks/aiohttp.py", "or asgi_app of callbacks/asgi.py"),
    Message(
        1, 1, "CallbackRegistry.look_up", "callbacks/registry.py", "by the hash of the key, before the body is read"
    ),
    Message(1, 2, "ActiveJob.on_delivery", "client/handle.py", "kept, not believed"),
    Message(1, 0, "CallbackRegistry.deliver", "callbacks/registry.py", "answers 200"),
    Message(2, 3, "AutoResetEvent.set", "events.py", "ends the sleep between two polls"),
    Message(3, 3, "JobWatcher.wait_until_done", "client/engine/watch.py", "at most one query a second"),
    Message(3, 4, "Provider.query", "provider.py", "the flow yields a GET"),
    Message(3, 0, "HttpTransport.perform", "transport/http.py", "asks the provider; its answer counts"),
    Message(3, 3, "SnapshotRecorder.record", "client/engine/snapshots.py", "Record.advance, then the store"),
    Message(3, 2, "ActiveJob.finish", "client/handle.py", "completes the result"),
    Message(2, 5, "JobHandle.result", "client/handle.py", "the awaiter wakes with a Result"),
)
_LOST_ANSWER = (
    Message(1, 2, "JobStore.open", "stores/__init__.py", "IN_DOUBT without a reason: the answer is pending"),
    Message(1, 3, "HttpTransport.perform", "transport/http.py", "sends the paid request"),
    Message(3, 1, "ActiveJob.set_may_be_paid", "client/handle.py", "just before the first byte", "line paid"),
    Message(3, 4, "BodyStream._count_chunks", "transport/upload.py", "the provider takes it, perhaps", "line paid"),
    Message(4, 3, "connection lost", "", "no answer arrives", "line dashed"),
    Message(3, 1, "ProviderUnavailable", "errors.py", "sent=True: something was written"),
    Message(1, 1, "FlowRunner._send_with_retries", "client/engine/flows.py", "paid and sent: not repeated"),
    Message(1, 1, "Submitter._run_submit_flow", "client/engine/submission/submit.py", "decides: InDoubt", "line paid"),
    Message(1, 1, "InDoubtResolver.try_resolve", "client/engine/in_doubt.py", "no callback has settled it"),
    Message(1, 2, "SnapshotRecorder.record", "client/engine/snapshots.py", "IN_DOUBT with its reason"),
    Message(1, 0, "ActiveJob.fail", "client/handle.py", "SubmissionInDoubt with .token"),
    Message(0, 1, "Client.settle", "client/client.py", "later: task_id=…, paid=True or paid=False"),
)
SEQUENCES: Mapping[str, Sequence[Message]] = {
    "path-to-bytes": _UPLOAD,
    "callback-to-awaiter": _CALLBACK,
    "lost-answer": _LOST_ANSWER,
}


def _describe(messages: Sequence[Message]) -> str:
    return " ".join(f"{number}. {message.code}: {message.note}." for number, message in enumerate(messages, 1))


def draw() -> Mapping[str, Picture]:
    """Return all diagrams by the name of their file, without its suffix."""
    units = "; ".join(f"{len(LAYERS) - number}: {', '.join(layer.units)}" for number, layer in enumerate(LAYERS))
    states = (
        "A video starts as UPLOADING, an image as IN_DOUBT. commit goes from UPLOADING to IN_DOUBT before the paid "
        "request, withdraw back if the attempt had no effect. An answer leads to QUEUED, RUNNING, SUCCEEDED or FAILED; "
        "without one the job stays IN_DOUBT with a reason, until a callback or settle says what became of it. A failed "
        "job starts anew only with again=True."
    )
    sdk, engine, server = ("client", "Client, handles"), ("client.engine", "runs the job"), ("provider", "its server")
    code, flow, store = ("your code", "one task"), ("provider flow", "a generator"), ("store", "records")
    transport, files = ("transport", "aiohttp"), ("media", "files, links")
    upload, callback, lost = (SEQUENCES[name] for name in SEQUENCES)
    return {
        "layers": draw_layers("The layers of the package", f"Imports go downwards only. {units}.", LAYERS),
        "life-of-a-job": draw_states("The life of a job", states, (890, 550), STATES, TRANSITIONS),
        "path-to-bytes": draw_messages(
            "A path, until its bytes leave",
            _describe(upload),
            (code, sdk, engine, store, flow, transport, files, server),
            upload,
            118,
        ),
        "callback-to-awaiter": draw_messages(
            "A callback, until the awaiter wakes",
            _describe(callback),
            (server, ("callbacks", "server, registry"), ("ActiveJob", "state of the job"), engine, flow, code),
            callback,
            150,
        ),
        "lost-answer": draw_messages(
            "A lost answer, until SubmissionInDoubt",
            _describe(lost),
            (code, engine, store, transport, server),
            lost,
            180,
        ),
    }


def main() -> None:
    """Write the files."""
    for name, picture in draw().items():
        (FOLDER / f"{name}.svg").write_text(picture.svg(), encoding="utf-8")


if __name__ == "__main__":
    main()
