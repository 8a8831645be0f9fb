"""An audience of a few people, and what its messages are."""

from typing import Any

import pyarrow as pa
from hypothesis import settings

from sms.campaign.template import Template
from sms.message.rendering import Renderer, Rendering

NUMBER = 33639980000


FEW = settings(max_examples=40)


def audience(**columns: list[str | None]) -> pa.RecordBatch:
    count = len(next(iter(columns.values())))
    texts = {name: pa.array(values, pa.large_string()) for name, values in columns.items()}
    numbers = pa.array([NUMBER + n for n in range(count)], pa.int64())
    keys = pa.array([f"k{n}" for n in range(count)], pa.large_string())
    rows = pa.array(range(1, count + 1), pa.int64())
    own = {
        "row": rows,
        "key": keys,
        "msisdn": numbers,
        "country": pa.array(["FR"] * count, pa.large_string()),
    }
    return pa.RecordBatch.from_pydict({**own, **texts})


def rendered(text: str, rows: pa.RecordBatch, **settings: Any) -> Rendering:
    renderer = Renderer(
        template=Template(text), sender="BOUTIQUE", campaign_id="spring1", **settings
    )
    return renderer.render(rows)


def texts(rendering: Rendering) -> list[str]:
    return rendering.messages.column("msg").to_pylist()


def exclusions(rendering: Rendering) -> list[tuple[str, str, str]]:
    return [(row["key"], row["reason"], row["detail"]) for row in rendering.excluded.to_pylist()]
