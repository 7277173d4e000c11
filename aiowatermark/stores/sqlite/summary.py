"""The summary of a SQLite store, made by SQLite in one pass over the table."""

from __future__ import annotations

from ...jobs import Status
from ..summary import ANSWER_PENDING, JobGroup, StoreSummary, summary_of
from .database import Database
from .opening import store_errors

# a row whose data are damaged is left out: `jobs` reports it
_SUMMARY = """
    SELECT provider,
        CASE WHEN status = ? AND reason IS NULL THEN ? ELSE status END AS state,
        count(*), min(created), max(created), total(charged), count(charged)
    FROM (
        SELECT json_extract(data, '$.provider') AS provider,
            json_extract(data, '$.snapshot.status') AS status,
            json_extract(data, '$.snapshot.reason') AS reason,
            nullif(json_extract(data, '$.created_at'), 0.0) AS created,
            json_extract(data, '$.charged') AS charged
        FROM records WHERE json_valid(data)
    )
    GROUP BY provider, state"""


def read_summary(database: Database) -> StoreSummary:
    """Count the jobs of an open store; raises StoreError."""
    with store_errors(database.path):
        rows = database.connection.execute(_SUMMARY, (Status.IN_DOUBT.value, ANSWER_PENDING)).fetchall()
    return summary_of((JobGroup(str(provider), str(state), *sums) for provider, state, *sums in rows), complete=True)
