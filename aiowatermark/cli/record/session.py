"""Session: makes the calls of the chosen paths through the SDK, and writes the cassette while they run.

What a path leaves, however it ends:

    cassette    written in a thread after each answer, and at the end of each path, by replacing the file; redacted
    results     saved beside it, because they were paid
    store       an SQLite file beside it: it has the job before its paid request is sent, and the token is printed when
                the provider has accepted it

    first Ctrl-C     the running path is cancelled: its client waits for the answer to a paid request, and leaves a job
                     that is at the provider. The cassette is written, and the command that fetches the result printed
    any exception    the cassette is written, then the exception goes on
    killed           the cassette is that of the last answer, the store has the job

Paths run one after another, each with a client of its own, so that an exchange belongs to the path that runs.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import asdict, define, field

from ... import (
    CallbackReceiver,
    Client,
    JobStore,
    MemoryStore,
    Provider,
    Record,
    Result,
    Snapshot,
    Source,
    Status,
    WatermarkError,
    as_media,
)
from ...callbacks.registry import ReceivedRequest, registry_of
from ...media.base import Media
from ...media.memory import Link
from ...transport.http import HttpTransport
from ...transport.network.proxies import Network
from ..console.problems import plain_text
from .cassette import CassetteDocument, shown_url
from .exchanges import RecordingTransport
from .paths import RecordingPath
from .recording import PathRecording, RecordedCallback
from .samples import BROKEN_URL, MediaChoice
from .unknowns import answer_unknowns

_DRAIN = 20.0
_QUERY_SECONDS = 60.0
"""Seconds within which an unknown task must be queried once."""
_UNKNOWN_TASK = "unknown-task-id"


@define(eq=False)
class RecordingSession:
    """One run: what to call, with what, and where its files are.

    `stem` is the path of the files without a suffix. `callback_wait` is how many seconds a callback is waited for after
    a job has ended. `say` prints a line.
    """

    document: CassetteDocument
    media: MediaChoice
    stem: Path
    store: JobStore
    receiver: CallbackReceiver | None
    deadline: float
    callback_wait: float
    say: Callable[[str], object]
    problem: str = field(default="", init=False)
    _changed: asyncio.Event = field(factory=asyncio.Event, init=False, repr=False)
    _answered: asyncio.Event = field(factory=asyncio.Event, init=False, repr=False)
    _called_back: asyncio.Event = field(factory=asyncio.Event, init=False, repr=False)
    # held while a cassette is built, which a thread does, and while what it is built of is changed here
    _writing: threading.Lock = field(factory=threading.Lock, init=False, repr=False)

    @property
    def cassette(self) -> Path:
        """The file of the cassette."""
        return self.stem.with_name(f"{self.stem.name}.json")

    @property
    def results(self) -> Path:
        """The folder of the results."""
        return self.stem.with_name(f"{self.stem.name}-results")

    async def record(self, path: RecordingPath, provider: Provider) -> None:
        """Make the calls of one path; what goes wrong with them is recorded, too. Raises nothing of the SDK's."""
        recording = PathRecording(path)
        self.document.recording.paths.append(recording)
        started = time.monotonic()
        if self.receiver is not None:
            registry_of(self.receiver).on_request = self._callback_recorder(recording, started)
        writer = asyncio.create_task(self._write_changes())
        try:
            await self._record(recording, provider)
            recording.outcome = "done"
        except WatermarkError as error:
            recording.outcome, recording.error = type(error).__name__, error.message
            token = f"; token {error.token}" if error.token and path.submissions else ""
            self.say(f"{path.name}: {error.message}{token}")
        finally:
            recording.seconds = time.monotonic() - started
            writer.cancel()
            # not in a thread: it must happen also while this task is being cancelled
            self.write()

    async def _record(self, recording: PathRecording, provider: Provider) -> None:
        path = recording.path
        transport = RecordingTransport(HttpTransport(provider, network=Network(trust_env=True)), self._note_answer)
        recording.exchanges, recording.downloads = transport.exchanges, transport.downloads
        async with Client(
            provider,
            transport=transport,
            # what costs nothing leaves no job behind
            store=self.store if path.submissions else MemoryStore(),
            callbacks=self.receiver,
            deadline=self.deadline,
            drain=_DRAIN,
        ) as client:
            match path.call:
                case "credits":
                    await client.credits()
                case "query":
                    await self._query_unknown(client, recording)
                case _:
                    await self._submit(client, recording)

    def _callback_recorder(self, recording: PathRecording, started: float) -> Callable[[ReceivedRequest], None]:
        self._called_back.clear()

        def note(request: ReceivedRequest) -> None:
            recording.callbacks.append(RecordedCallback(request, time.monotonic() - started))
            self._called_back.set()

        return note

    async def _query_unknown(self, client: Client, recording: PathRecording) -> None:
        self.document.redactor.replace(_UNKNOWN_TASK, _UNKNOWN_TASK)
        provider, snapshot = client.provider, Snapshot(_UNKNOWN_TASK, Status.QUEUED)
        recording.task_id, recording.video = _UNKNOWN_TASK, provider.capabilities.videos
        record = Record(_UNKNOWN_TASK, provider.name, snapshot, video=recording.video, account=provider.account)
        handle = client.resume(record.token, deadline=_QUERY_SECONDS)
        self._answered.clear()
        waiting = [asyncio.ensure_future(each) for each in (handle.result(), self._answered.wait())]
        try:
            # one answer is enough: a 404 is queried again for a while, because it may mean "not yet"
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _submit(self, client: Client, recording: PathRecording) -> None:
        path, provider = recording.path, client.provider
        inputs, options = self._inputs(path, provider), path.options(type(provider))
        needs_mask = (path.mask and path.call != "refine") or provider.capabilities.mask == "required"
        mask = self.media.mask_image() if needs_mask else None
        recording.video = path.media == "video"
        job: dict[str, Any] = {"video": True} if recording.video else {}
        if mask is not None:
            job["mask"] = mask.name
        recording.jobs.append(job | {"options": dict(options)} if options else job)
        self._note_inputs(recording, inputs)  # before the first answer is written
        try:
            # one input as such: most providers take no list
            source: Source | list[Source] = list(inputs) if len(inputs) > 1 else inputs[0]
            handle = await client.submit(source, mask=mask, key=_new_key(provider, path), **options)
        finally:
            await self._note_media(recording, inputs, mask)
        recording.task_id, recording.route = handle.task_id, Record.from_token(handle.token).route
        self.say(f"{path.name}: accepted by {provider.display_name}; token {handle.token}")
        result = await handle
        recording.task_id = result.snapshot.task_id
        await self._save_results(result, path)
        if path.call == "refine":
            await self._refine(client, recording, result)
        elif any(self.document.has_callback(each.request) for each in recording.exchanges):
            await self._wait_for_callback()

    async def _refine(self, client: Client, recording: PathRecording, result: Result) -> None:
        brush, session = self.media.mask_image("brush.png"), result.snapshot.session
        media = result.outputs[0].media
        if session is not None and media is not None:
            shown = {"id": session.id, "mask": session.mask and session.mask.name, "refinements": session.refinements}
            recording.jobs.append({"inputs": [media.name], "mask": brush.name, "session": shown})
        refined = await client.refine(result, brush=brush, key=_new_key(client.provider, recording.path))
        await self._save_results(refined, recording.path)

    def _inputs(self, path: RecordingPath, provider: Provider) -> list[Media]:
        """Return the inputs of a path, as the command has checked that they are there."""
        match path.media:
            case "video" if self.media.video is not None:
                return [as_media(self.media.video, name="video.mp4")]
            case "broken url":
                return [Link(BROKEN_URL)]
            case "url" if self.media.urls:
                return [Link(self.media.urls[number % len(self.media.urls)]) for number in range(path.urls)]
        count = path.urls if not provider.capabilities.files else 1
        return [self.media.image() for _ in range(count)]

    def _note_inputs(self, recording: PathRecording, inputs: Sequence[Media]) -> None:
        """Note what stands for the inputs of a job: their names, or URLs in place of the user's."""
        by_url = recording.path.media in {"url", "broken url"}
        names = [shown_url(number) if by_url else media.name for number, media in enumerate(inputs, 1)]
        urls = [media.url for media in inputs if isinstance(media, Link)]
        with self._writing:
            for number, url in enumerate(urls):
                # the same URL twice is written as the same; that of `broken-url` is not the user's
                names[number] = BROKEN_URL if url == BROKEN_URL else names[urls.index(url)]
                self.document.redactor.replace_url(url, names[number])
            recording.jobs[-1]["inputs"] = names
            recording.inputs = names if by_url else ()

    async def _note_media(self, recording: PathRecording, inputs: Sequence[Media], mask: Media | None) -> None:
        """Note names and digests of the media of a job, now that the client has named them by their formats."""
        self._note_inputs(recording, inputs)
        if mask is not None:
            recording.jobs[-1]["mask"] = mask.name
        for media in (*inputs, *((mask,) if mask is not None else ())):
            if not isinstance(media, Link):
                if media.digest is None:  # the client hashed a copy
                    await media.hash_content()
                self.document.recording.media[media.name] = (media.size or 0, f"blake2b-{media.digest}")

    async def _save_results(self, result: Result, path: RecordingPath) -> None:
        await asyncio.to_thread(self.results.mkdir, exist_ok=True)
        for index, output in enumerate(result.outputs):
            if output.media is not None:
                saved = await result.save(self.results, index=index)
                self.say(f"{path.name}: saved {saved}")

    async def _wait_for_callback(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self.callback_wait):
                await self._called_back.wait()

    def _note_answer(self) -> None:
        self._answered.set()
        self._changed.set()

    async def _write_changes(self) -> None:
        """Write the cassette in a thread after each answer, until this is cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            await asyncio.to_thread(self.write)

    def write(self) -> dict[str, Any] | None:
        """Write the cassette and return it; None if that fails.

        A failure is kept in `problem` until it succeeds: it must not fail a paid job.
        """
        with self._writing:
            try:
                document = self.build()
                _write_atomically(self.cassette, document)
            except Exception as error:  # noqa: BLE001 - whatever it is, the job that is being recorded comes first
                self.problem = f"the cassette could not be written: {plain_text(error)}"
                return None
            self.problem = ""
            return document

    def build(self) -> dict[str, Any]:
        """Return the cassette with the answers to the provider's unknowns."""
        document = self.document.build()
        return {**document, "unknowns": [asdict(each) for each in answer_unknowns(document)]}


def _new_key(provider: Provider, path: RecordingPath) -> str:
    return f"record-{provider.name}-{path.name}-{secrets.token_hex(8)}"


def _write_atomically(path: Path, document: dict[str, Any]) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)
