"""A run folder whose files are damaged: the file is named, and nothing ends in a traceback."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from swarm.commands.run import resume_live
from swarm.errors import UsageError
from swarm.records.run_folder import RunFolder

DAMAGES = [b"", b"[1]", b"\xff\xfe\x00\x01", b"{a: [", bytes(300), b'{"a": 1']


@pytest.mark.parametrize("content", DAMAGES)
def test_what_is_no_mapping_is_named(tmp_path: Path, content: bytes) -> None:
    folder = RunFolder(tmp_path)
    for name, read in (("run.yaml", folder.run), ("summary.json", folder.summary)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError, match=f"{name} is damaged: "):
            read()
    with pytest.raises(UsageError, match=r"run\.yaml is damaged: "):
        resume_live(tmp_path)


@pytest.mark.parametrize(
    ("content", "missing"), [("{}", "no run_id and no experiment"), ("{run_id: a}", "no exp")]
)
def test_a_run_that_does_not_say_what_it_was_is_not_gone_on_with(
    tmp_path: Path, content: str, missing: str
) -> None:
    (tmp_path / "run.yaml").write_text(content.replace("{", "{mode: live, "))
    with pytest.raises(UsageError, match=f"run.yaml is damaged: it has {missing}"):
        resume_live(tmp_path)


@pytest.mark.parametrize("at_byte", [0, 40, -1, None])
def test_a_damaged_table_is_named(tmp_path: Path, at_byte: int | None) -> None:
    folder = RunFolder(tmp_path)
    folder.write_requests(pa.table({"agent": [f"a{number}" for number in range(2000)]}))
    path = tmp_path / "requests.parquet"
    data = bytearray(path.read_bytes())
    if at_byte is None:
        del data[len(data) // 2 :]
    else:
        data[at_byte : at_byte + 30 if at_byte >= 0 else None] = b"\xff" * (30 if at_byte >= 0 else 1)
    path.write_bytes(data)
    with pytest.raises(UsageError, match=r"requests\.parquet is damaged: "):
        folder.requests()
