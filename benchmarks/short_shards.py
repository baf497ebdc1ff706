"""Many short recordings straight as shards, as `ssast pack` writes them; folders of so many take minutes to make."""

import io
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from ssast.data.shards.shard_schema import MB, planned_shards
from ssast.data.shards.shard_writer import PackedClip, PackedTable, write_shard

RATE = 16000
METADATA = b'{"encoding": "WAV", "sample_rate_hz": 16000}'
GROUP_MB, SHARD_MB = 64, 512


def short_shards(folder: Path, clips: int, seconds: float, *, group_mb: float = GROUP_MB) -> Path:
    """A folder of shards with so many clips of noise, no two the same, and a label `odd`; the tables are `test`."""
    folder.mkdir(parents=True)
    uids = [f"{number:07d}" for number in range(clips)]
    frame = pd.DataFrame({"odd": [number % 2 for number in range(clips)]}, index=uids)
    text = "uid,odd\n" + "".join(f"{uid},{odd}\n" for uid, odd in zip(uids, frame["odd"], strict=True))
    table = PackedTable("test", text.encode(), frame, {"odd": pa.int64()})
    size = len(_wav(np.zeros(int(RATE * seconds), dtype="<i2")))
    shards = planned_shards("test", [size] * clips, group_bytes=int(group_mb * MB), shard_bytes=SHARD_MB * MB)
    coming = _clips(uids, int(RATE * seconds))
    for shard in shards:
        write_shard(folder / shard.name, shard, table, (next(coming) for _ in shard.rows))
    return folder


def _clips(uids: list[str], samples: int) -> Iterator[PackedClip]:
    rng = np.random.default_rng(0)
    for uid in uids:
        noise = rng.integers(-3000, 3000, samples, dtype=np.int16).astype("<i2")
        yield PackedClip(uid, "waveform.wav", _wav(noise), METADATA)


def _wav(samples: np.ndarray) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    return content.getvalue()
